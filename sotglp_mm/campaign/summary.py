"""Tables and a figure of what a campaign has done so far."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import harmonic_mean

from ..io.files import write_atomically
from ..utils.tables import markdown_table
from .figure import plot
from .numbers import (
    AVERAGE,
    COMBINED,
    OOD,
    SHIFT,
    Numbers,
    mean_and_deviation,
    mean_over,
    panels_of,
    read_numbers,
    shots_of,
    text_of,
)
from .published import Published, read_published

BRANCHES = {'accuracy_global/top1': 'global', 'accuracy_local/top1': 'local'}
MEAN_CLASS = 'accuracy/mean_class'

HEAD = """\
# Summary

{count} results. All in percent: mean ± sample standard deviation over seeds (n: number of
seeds; with one seed there is no deviation). Each result is that of the last epoch's checkpoint;
nothing was selected on test data.

Shots: {sampling}.
"""
SAMPLING = {
    'per_class': 'exactly K images of every class (all, where a class has fewer)',
    'stratified': 'K times C images, stratified by class frequency',
}
PROTOCOLS = """\
Not one protocol: GalLoP and SOT-GLP draw shots stratified by class frequency, the others exactly
16 of every class, so rows compare only within one of the two. All published rows are for CLIP
ViT-B/16. A blank was not found in print.
"""

SERVED = """\
Classes that were not trained have the global prompts, local prompts that all classes share, and
the learned projection; where each class has local prompts of its own, CLIP's text in their place.
"""
BASE_TO_NEW = f"""\
Trained on the first half of the classes; each half is tested alone. H is the harmonic mean of the
two means. {SERVED}"""
TRANSFER = f'Trained on one dataset, tested on others. {SERVED}'


def summarize(
    work_dir: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    metric: str = COMBINED,
) -> list[Path]:
    """Write summary.md, summary.csv, summary.json and accuracy_vs_shots.png.

    The same results give the same files, byte for byte. There is no figure where no result has the
    metric. Of several campaigns, each a method, side_by_side.md and side_by_side.png are written.

    Args:
        work_dir: Of a campaign, or of several.
        out: Folder of the files. None: ``work_dir``; several campaigns need one.
        metric: Of the first table, the figure and the comparison.

    Returns:
        The files.

    Raises:
        FileNotFoundError: There are no results.
        ValueError: A file is broken, no result has the metric, or several campaigns have no
            ``out``.
    """
    work_dirs = [work_dir] if isinstance(work_dir, str | Path) else work_dir
    campaigns = {Path(each): read_numbers(Path(each), metric) for each in work_dirs}
    (first, numbers), *others = campaigns.items()
    if others and out is None:
        raise ValueError('a comparison of several campaigns needs --out FOLDER for its files')
    out, figure = Path(out or first), 'side_by_side.png' if others else 'accuracy_vs_shots.png'
    names = [each.resolve().name for each in campaigns]
    if len(set(names)) < len(names):
        names = list(map(str, campaigns))
    by_name = dict(zip(names, campaigns.values()))
    texts = (
        {'side_by_side.md': side_by_side(by_name, metric)} if others else _texts(numbers, metric)
    )
    for name, text in texts.items():
        write_atomically(out / name, text)
    files = [out / name for name in texts]
    if panels_of(by_name):
        files.append(out / figure)
        plot(by_name, metric, files[-1])
    print(*files, sep='\n')
    return files


def _texts(numbers: Numbers, metric: str) -> dict[str, str]:
    """The files of one campaign, by name."""
    others = [n for pattern in (SHIFT, OOD) for n in numbers.metrics if pattern.fullmatch(n)]
    rows = numbers.rows(list(dict.fromkeys([metric, *BRANCHES, MEAN_CLASS, *others])))
    content = {
        'datasets': numbers.everything,
        'shots': numbers.shots,
        'sampling': numbers.samplings,
        'missing': [list(key) for key in numbers.missing],
        'rows': json.loads(rows.to_json(orient='records', double_precision=15)),
    }
    return {
        'summary.md': as_markdown(numbers, metric, read_published()),
        'summary.csv': rows.to_csv(index=False, lineterminator='\n'),
        'summary.json': json.dumps(content, indent=2) + '\n',
    }


def side_by_side(campaigns: dict[str, Numbers], metric: str) -> str:
    """A table for each dataset, with a row for each campaign."""
    samplings = sorted({each for numbers in campaigns.values() for each in numbers.samplings})
    parts = [_head(sum(numbers.count for numbers in campaigns.values()), samplings)]
    parts += [_missing(numbers, f' of {name}') for name, numbers in campaigns.items()]
    shots = shots_of(campaigns)
    for dataset in panels_of(campaigns):
        rows = [
            [name, *(text_of(numbers.of(dataset, each, metric)) for each in shots)]
            for name, numbers in campaigns.items()
        ]
        table = markdown_table(['campaign', *map(_shots, shots)], rows)
        parts.append(f'## {dataset} (`{metric}`)\n\n{table}')
    return '\n'.join(filter(None, parts))


def as_markdown(numbers: Numbers, metric: str, published: dict[str, Published]) -> str:
    """All tables."""
    parts = [_head(numbers.count, numbers.samplings)]
    if numbers.missing:
        parts.append(_missing(numbers))
    for name in dict.fromkeys([metric, *BRANCHES, MEAN_CLASS]):
        if name in numbers.metrics:
            parts.append(_by_shots(numbers, name))
    if numbers.datasets and metric.endswith('/top1'):  # as all published numbers are
        parts.append(_beside_published(numbers, metric, published['few_shot']))
    parts += _domain_shift(numbers, published['shift'])
    parts += _out_of_distribution(numbers, published['ood'])
    parts += [*_base_to_new(numbers), *_transfer(numbers)]
    return '\n'.join(parts)


def _head(count: int, samplings: list[str]) -> str:
    sampling, *more = samplings
    sampling = f'{sampling}, {SAMPLING[sampling]}' if sampling in SAMPLING else sampling
    if more:
        sampling = f'MIXED, do not compare rows: {", ".join(samplings)}'
    return HEAD.format(count=count, sampling=sampling)


def _missing(numbers: Numbers, whose: str = '') -> str:
    lines = ''.join(f'- {d}, {_shots(n)}, seed {seed}\n' for d, n, seed in numbers.missing)
    head = f'Asked for, and without a result{whose} ({len(numbers.missing)}):'
    return f'{head}\n\n{lines}' if lines else ''


def _shots(shots: int) -> str:
    return f'{shots} shot{"s" * (shots > 1)}'


def _by_shots(numbers: Numbers, metric: str) -> str:
    known = {COMBINED: 'Top-1, combined', MEAN_CLASS: 'Mean per-class accuracy, combined'}
    known |= {name: f'Top-1, {branch}' for name, branch in BRANCHES.items()}
    title = known.get(metric, f'Top-1, {metric}' if metric.endswith('/top1') else metric)
    rows = [
        [name, *(text_of(numbers.of(name, shots, metric)) for shots in numbers.shots)]
        for name in [*numbers.datasets, AVERAGE]
    ]
    table = markdown_table(['dataset', *map(_shots, numbers.shots)], rows)
    notes = [_average_note(numbers, shots, metric) for shots in numbers.shots]
    text = f'## {title} (`{metric}`)\n\n{table}'
    return text + ''.join(f'\n{note}\n' for note in notes if note)


def _average_note(numbers: Numbers, shots: int, metric: str) -> str:
    seeds = {name: set(numbers.of(name, shots, metric)) for name in numbers.datasets}
    lacking = [name for name, of_it in seeds.items() if not of_it]
    if lacking:
        return f'No average for {_shots(shots)}: nothing of {", ".join(lacking)}.'
    common = set.intersection(*seeds.values())
    if not common:
        return f'No average for {_shots(shots)}: no seed that all datasets have.'
    if any(of_it != common for of_it in seeds.values()):
        return (
            f'The average for {_shots(shots)} is over seeds that all datasets have: '
            f'{sorted(common)}.'
        )
    return ''


def _beside_published(numbers: Numbers, metric: str, published: Published) -> str:
    *names, _ = published.columns
    cells = [text_of(numbers.of(name, 16, metric)) for name in names]
    # the published means are over exactly these datasets
    whole = sorted(numbers.datasets) == sorted(names)
    cells.append(text_of(numbers.of(AVERAGE, 16, metric)) if whole else '')
    ours = [['this package', *cells]] if any(cells) else []
    note = '' if ours else 'No result here is of 16 shots on one of these datasets.\n\n'
    table = markdown_table(['method', *published.columns], [*published.rows, *ours])
    return (
        f'## 16 shots, beside published results\n\n{table}\n{note}{PROTOCOLS}\n'
        f'Sources: {published.source}.\n'
    )


def _domain_shift(numbers: Numbers, published: Published) -> list[str]:
    source, *shifts, _ = published.columns
    metrics = [f'accuracy/{name}/top1' for name in shifts]
    ours = []
    for run in numbers.runs_with(metrics):
        first = numbers.of(*run, f'accuracy/{source}/top1') or numbers.of(*run, COMBINED)
        ours.append([_label(run), text_of(first), *_cells(numbers, run, metrics)])
    if not ours:
        return []
    table = markdown_table(['method', *published.columns], [*published.rows, *ours])
    return [
        f'## Domain shift, top-1\n\n{table}\nPublished: 16 shots of {source}; '
        f'{published.source}.\n\n{PROTOCOLS}'
    ]


def _base_to_new(numbers: Numbers) -> list[str]:
    rows = []
    for metric, branch in {COMBINED: 'combined', **BRANCHES}.items():
        names = [f'{metric.partition("/")[0]}/{half}/top1' for half in ('base', 'new')]
        runs = numbers.runs_with(names)
        halves = {run: [numbers.of(*run, name) for name in names] for run in runs}
        for shots in numbers.shots:
            of_all = [halves.get((dataset, shots), [{}, {}]) for dataset in numbers.everything]
            mean = [mean_over(values) for values in zip(*of_all)]
            if len(of_all) > 1 and all(mean):  # of all that were asked for
                halves[AVERAGE, shots] = mean
        for (dataset, shots), values in halves.items():
            both = [mean_and_deviation(of_half)[0] for of_half in values]
            run = f'{dataset}, {_shots(shots)}, {branch}'
            rows.append([run, *map(text_of, values), f'{harmonic_mean(both):.1f}'])
    if not rows:
        return []
    table = markdown_table(['run', 'base', 'new', 'H'], rows)
    return [f'## Base-to-new, top-1\n\n{table}\n{BASE_TO_NEW}']


def _transfer(numbers: Numbers) -> list[str]:
    metrics = [f'accuracy/{name}/top1' for name in numbers.targets]
    rows = []
    for run in numbers.runs_with(metrics):
        own = f'accuracy/{run[0]}/top1'  # it has a column, and is none of the others
        *cells, mean = _cells(numbers, run, [metric for metric in metrics if metric != own])
        if own in metrics:
            cells.insert(metrics.index(own), '')
        rows.append([_label(run), text_of(numbers.of(*run, COMBINED)), *cells, mean])
    if not rows:
        return []
    table = markdown_table(['run', 'trained on', *numbers.targets, 'mean of the others'], rows)
    return [f'## Transfer to other datasets, top-1\n\n{table}\n{TRANSFER}']


def _out_of_distribution(numbers: Numbers, published: Published) -> list[str]:
    names = [match for match in map(OOD.fullmatch, numbers.metrics) if match]
    *sets, mean = published.columns
    note = f'Published: ImageNet, 16 shots; {published.source}.\n\n{PROTOCOLS}'
    others = sorted({match[2] for match in names} - {*sets, mean})
    parts = []
    for where, group, beside, text in (
        ('', sets, published.rows, note),
        (' on other sets', others, [], ''),
    ):
        pairs, aupr = _ood_rows(numbers, names, group)
        head, title = ['method', *group, mean], f'## Out-of-distribution detection{where}'
        if pairs:
            table = markdown_table(head, [*beside, *pairs])
            parts.append(f'{title}, FPR95 (lower is better) / AUROC\n\n{table}\n{text}')
        if aupr:
            parts.append(f'{title}, AUPR\n\n{markdown_table(head, aupr)}')
    return parts


def _ood_rows(
    numbers: Numbers, names: list[re.Match], sets: list[str]
) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of FPR95 / AUROC, and of AUPR: a row for each score and run on one of these sets."""
    pairs, aupr = [], []
    for score in sorted({match[1] for match in names}):
        mine = [match[0] for match in names if match[1] == score and match[2] in sets]
        for run in numbers.runs_with(mine):
            cells = {
                figure: _cells(numbers, run, [f'ood/{score}/{name}/{figure}' for name in sets])
                for figure in ('fpr95', 'auroc', 'aupr')
            }
            both = zip(cells['fpr95'], cells['auroc'])
            texts = [f'{a or "-"} / {b or "-"}' if a or b else '' for a, b in both]
            pairs.append([_label(run, f', {score}'), *texts])
            if any(cells['aupr']):
                aupr.append([_label(run, f', {score}'), *cells['aupr']])
    return pairs, aupr


def _cells(numbers: Numbers, run: tuple[str, int], metrics: list[str]) -> list[str]:
    """Text for each metric of a run, and for their mean."""
    columns = [numbers.of(*run, metric) for metric in metrics]
    return [text_of(values) for values in [*columns, mean_over(columns)]]


def _label(run: tuple[str, int], more: str = '') -> str:
    return f'this package, {run[0]}, {_shots(run[1])}{more}'

"""Tables and a figure of what a campaign has done so far."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import harmonic_mean
from typing import Any

import numpy as np
import pandas as pd

from ..io.files import write_atomically
from ..utils.tables import markdown_table
from .plan import Key
from .published import Published, read_published
from .records import RESULT, read_plan, read_result

COMBINED = 'accuracy/top1'
BRANCHES = {'accuracy_global/top1': 'global', 'accuracy_local/top1': 'local'}
MEAN_CLASS = 'accuracy/mean_class'
AVERAGE = 'average'
SHIFT = re.compile(r'accuracy/([^/]+)/top1')
OOD = re.compile(r'ood/([^/]+)/([^/]+)/(auroc|fpr95|aupr)')
COLUMNS = 4

EVALUATIONS = ('ood', 'domains')
"""The package's configs that are tested on several sets at once, known before they are done."""

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


def read_results(work_dir: Path) -> dict[Key, dict]:
    """All results below a folder; an error if one is broken, or two are of the same job."""
    results: dict[Key, dict] = {}
    files: dict[Key, Path] = {}
    for file in sorted(work_dir.rglob(RESULT)):
        result = read_result(file)
        key = result['dataset'], result['shots'], result['seed']
        if key in results:
            raise ValueError(
                f'{file} and {files[key]} are both of {key[0]}, {key[1]} shots, seed {key[2]}; '
                'summarize one campaign at a time'
            )
        results[key], files[key] = result, file
    if not results:
        raise FileNotFoundError(
            f'no {RESULT} below {work_dir}; expected those that sotglp campaign --work-dir '
            f'{work_dir} leaves'
        )
    return results


Seeds = dict[int, float]
"""Value by seed."""


class Numbers:
    """What the tables and the figure say, by dataset, shots, metric and seed.

    'average' is a dataset, too, over seeds that all of ``datasets`` have: those of tables by
    shots, average and figure. A run that was tested for OOD detection or domain shift alone has no
    accuracy to stand there.

    Args:
        results: By (dataset, shots, seed).
        planned: What was asked for; what has no result is in ``missing``.
        order: Datasets in the order to show them; others follow by name.
        metric: Of the first table and the figure.
    """

    def __init__(
        self, results: dict[Key, dict], planned: Iterable[Key], order: Sequence[str], metric: str
    ):
        self.values: dict[tuple[str, int, str], Seeds] = {}
        for (dataset, shots, seed), result in sorted(results.items()):
            for name, value in result['metrics'].items():
                self.values.setdefault((dataset, shots, name), {})[seed] = float(value)
        asked = {*results, *planned}
        rank = {name: number for number, name in enumerate(order)}
        names = {key[0] for key in asked}
        self.everything = sorted(names, key=lambda name: (rank.get(name, len(rank)), name))
        self.shots = sorted({key[1] for key in asked})
        self.count = len(results)
        self.missing = sorted(
            asked - set(results), key=lambda key: (self.everything.index(key[0]), *key[1:])
        )
        self.targets = list(
            dict.fromkeys(t for r in results.values() for t in r.get('targets', ()))
        )
        self.samplings = sorted({r.get('sampling', 'not recorded') for r in results.values()})
        self.metrics = sorted({name for _, _, name in self.values})
        self.datasets = [n for n in self.everything if not self._stands_apart(n, metric)]
        for name in self.metrics:
            for shots in self.shots:
                of_it = [self.of(dataset, shots, name) for dataset in self.datasets]
                self.values[AVERAGE, shots, name] = mean_over(of_it)

    def _stands_apart(self, dataset: str, metric: str) -> bool:
        names = {key[2] for key in self.values if key[0] == dataset}
        if metric in names:
            return False
        return any(map(is_evaluation, names)) if names else dataset in EVALUATIONS

    def of(self, dataset: str, shots: int, metric: str) -> Seeds:
        """By seed; empty where there is none."""
        return self.values.get((dataset, shots, metric), {})

    def runs_with(self, metrics: Sequence[str]) -> list[tuple[str, int]]:
        """(dataset, shots) of results that have one of these metrics, in order."""
        runs = {key[:2] for key in self.values if key[2] in metrics and key[0] != AVERAGE}
        return sorted(runs, key=lambda run: (self.everything.index(run[0]), run[1]))

    def rows(self, metrics: Sequence[str]) -> pd.DataFrame:
        """``dataset, shots, metric, mean, std, n`` of each number that is there; average last."""
        rows = [
            (dataset, shots, metric, *mean_and_deviation(values), len(values))
            for metric in metrics
            for dataset in [*self.everything, AVERAGE]
            for shots in self.shots
            if (values := self.of(dataset, shots, metric))
        ]
        return pd.DataFrame(rows, columns=['dataset', 'shots', 'metric', 'mean', 'std', 'n'])


def mean_over(columns: Sequence[Seeds]) -> Seeds:
    """Mean of several, seed by seed, where each of them has a value."""
    common = set.intersection(*map(set, columns)) if columns else set()
    return {seed: float(np.mean([each[seed] for each in columns])) for seed in sorted(common)}


def mean_and_deviation(values: Seeds) -> tuple[float, float]:
    """Over seeds; the sample standard deviation of a single value is NaN."""
    numbers = list(values.values())
    return float(np.mean(numbers)), float(np.std(numbers, ddof=1)) if numbers[1:] else math.nan


def text_of(values: Seeds) -> str:
    """E.g. '71.2 ± 0.4 (n=3)'; '' of nothing."""
    if not values:
        return ''
    mean, deviation = mean_and_deviation(values)
    return f'{mean:.1f}{"" if math.isnan(deviation) else f" ± {deviation:.1f}"} (n={len(values)})'


def is_evaluation(metric: str) -> bool:
    """Of one of several sets that a run was tested on."""
    return bool(SHIFT.fullmatch(metric) or OOD.fullmatch(metric))


def summarize(
    work_dir: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    metric: str = COMBINED,
) -> list[Path]:
    """Write summary.md, summary.csv, summary.json and accuracy_vs_shots.png.

    The same results give the same files, byte for byte. There is no figure where no result has the
    metric. Of several campaigns, each a method, summary.md and the figure show them side by side.

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
    work_dirs = [work_dir] if isinstance(work_dir, str | Path) else list(work_dir)
    if len(work_dirs) > 1:
        return _write(*_side_by_side([Path(each) for each in work_dirs], out, metric))
    work_dir = Path(work_dirs[0])
    numbers = read_numbers(work_dir, metric)
    others = [n for pattern in (SHIFT, OOD) for n in numbers.metrics if pattern.fullmatch(n)]
    rows = numbers.rows(list(dict.fromkeys([metric, *BRANCHES, MEAN_CLASS, *others])))
    content = {
        'datasets': numbers.everything,
        'shots': numbers.shots,
        'sampling': numbers.samplings,
        'missing': [list(key) for key in numbers.missing],
        'rows': json.loads(rows.to_json(orient='records', double_precision=15)),
    }
    texts = {
        'summary.md': as_markdown(numbers, metric, read_published()),
        'summary.csv': rows.to_csv(index=False, lineterminator='\n'),
        'summary.json': json.dumps(content, indent=2) + '\n',
    }
    return _write(Path(out or work_dir), texts, {'': numbers}, metric)


def _write(
    out: Path, texts: dict[str, str], campaigns: dict[str, Numbers], metric: str
) -> list[Path]:
    for name, text in texts.items():
        write_atomically(out / name, text)
    files = [out / name for name in texts]
    if any(numbers.datasets for numbers in campaigns.values()):
        files.append(out / 'accuracy_vs_shots.png')
        plot(campaigns, metric, files[-1])
    print(*files, sep='\n')
    return files


def read_numbers(work_dir: Path, metric: str) -> Numbers:
    """Of a campaign; an error if no result has the metric."""
    results = read_results(work_dir)
    names = {name for result in results.values() for name in result['metrics']}
    only_others = metric == COMBINED and any(map(is_evaluation, names))
    if metric not in names and not only_others:
        raise ValueError(
            f'no result in {work_dir} has --metric {metric}; there are {sorted(names)}'
        )
    order = read_published()['few_shot'].columns[:-1]
    return Numbers(results, read_plan(work_dir), order, metric)


def _side_by_side(
    work_dirs: Sequence[Path], out: str | Path | None, metric: str
) -> tuple[Path, dict[str, str], dict[str, Numbers], str]:
    if out is None:
        raise ValueError('a comparison of several campaigns needs --out FOLDER for its files')
    names = [each.resolve().name for each in work_dirs]
    if len(set(names)) < len(names):
        names = [str(each) for each in work_dirs]
    campaigns = {name: read_numbers(each, metric) for name, each in zip(names, work_dirs)}
    samplings = sorted({each for numbers in campaigns.values() for each in numbers.samplings})
    count = sum(numbers.count for numbers in campaigns.values())
    parts = [_head(count, samplings)]
    parts += [_missing(numbers, f' of {name}') for name, numbers in campaigns.items()]
    shots = sorted(_union(campaigns, 'shots'))
    for dataset in _panels(campaigns):
        rows = [
            [name, *(text_of(numbers.of(dataset, each, metric)) for each in shots)]
            for name, numbers in campaigns.items()
        ]
        table = markdown_table(['campaign', *map(_shots, shots)], rows)
        parts.append(f'## {dataset} (`{metric}`)\n\n{table}')
    return Path(out), {'summary.md': '\n'.join(filter(None, parts))}, campaigns, metric


def _panels(campaigns: dict[str, Numbers]) -> list[str]:
    """Datasets, and their average first where all campaigns are of the same two or more."""
    datasets = _union(campaigns, 'datasets')
    same = all(set(numbers.datasets) == set(datasets) for numbers in campaigns.values())
    return [AVERAGE, *datasets] if same and len(datasets) > 1 else datasets


def _union(campaigns: dict[str, Numbers], name: str) -> list:
    return list(dict.fromkeys(e for numbers in campaigns.values() for e in getattr(numbers, name)))


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


def plot(campaigns: dict[str, Numbers], metric: str, file: Path) -> None:
    """One panel a dataset, the average first; mean, and a band of one standard deviation."""
    from matplotlib.figure import Figure

    panels, shots = _panels(campaigns), sorted(_union(campaigns, 'shots'))
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2.6 * columns + 0.5, 2.2 * rows + 0.6), layout='constrained')
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax, name in zip(axes, panels):
        _set_up_panel(ax, name, shots)
        drawn = [
            _draw_line(ax, {each: numbers.of(name, each, metric) for each in shots}, f'C{color}')
            for color, numbers in enumerate(campaigns.values())
        ]
        if not any(drawn):
            ax.set_yticks([])
            ax.text(0.5, 0.5, 'not complete', transform=ax.transAxes, ha='center', va='center')
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    if len(campaigns) > 1:
        lines = [axes[0].plot([], [], f'oC{color}-')[0] for color in range(len(campaigns))]
        figure.legend(lines, campaigns, loc='outside right upper', fontsize='small')
        figure.set_figwidth(figure.get_figwidth() + 1.6)
    figure.supxlabel('images per class (shots)', fontsize='medium')
    figure.supylabel(f'{metric}, %', fontsize='medium')
    figure.savefig(file, dpi=150, metadata={'Software': None})


def _set_up_panel(ax: Any, name: str, shots: list[int]) -> None:
    bold = name == AVERAGE
    ax.set_title(name.replace('_', ' '), fontsize='medium', weight='bold' if bold else 'normal')
    ax.set_xscale('log', base=2)
    ax.set_xticks(shots, [str(each) for each in shots])
    ax.set_xlim(shots[0] / 1.2, shots[-1] * 1.2)
    ax.minorticks_off()
    ax.tick_params(labelsize='small')
    ax.grid(alpha=0.3)


def _draw_line(ax: Any, points: dict[int, Seeds], color: str) -> bool:
    """One campaign's line in a panel; whether there is anything to draw."""
    points = {shots: values for shots, values in points.items() if values}
    if not points:
        return False
    mean, deviation = np.array([mean_and_deviation(values) for values in points.values()]).T
    deviation, where = np.nan_to_num(deviation), list(points)
    ax.plot(where, mean, 'o-', color=color, markersize=3.5, linewidth=1.4)
    band = dict(color=color, alpha=0.2, linewidth=0)
    ax.fill_between(where, mean - deviation, mean + deviation, **band)
    if len(mean) == 1:  # a band of one point has no width to be seen
        ax.errorbar(where, mean, deviation, color=color, capsize=3)
    return True

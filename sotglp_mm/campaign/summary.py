"""Tables and a figure of what a campaign has done so far."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

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
LEVELS = ['dataset', 'shots', 'metric', 'seed']
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


def spread(values: pd.Series) -> pd.DataFrame:
    """``mean``, sample standard deviation ``std`` (NaN for one value) and number ``n`` of seeds.

    A NaN among the values is not left out: its mean is NaN.
    """
    rest = [name for name in values.index.names if name != 'seed']
    return values.groupby(level=rest, sort=False).agg(
        mean=lambda v: v.mean(skipna=False), std=lambda v: v.std(skipna=False), n='size'
    )


def mean_over(values: pd.Series, level: str, names: Sequence[str]) -> pd.Series:
    """Mean over ``names`` of a level, seed by seed, where there is a value for each of them."""
    chosen = values[values.index.isin(names, level=level)]
    rest = [name for name in values.index.names if name != level]
    groups = chosen.groupby(level=rest, sort=False)
    return groups.agg(lambda v: v.mean(skipna=False))[groups.size() == len(names)]


class Numbers:
    """What the tables and the figure say.

    ``values`` is a series by dataset, shots, metric and seed; ``stats`` has ``mean``, ``std`` and
    ``n`` by dataset, shots and metric, where 'average' is a dataset, too, over seeds that all of
    ``datasets`` have. ``everything`` has all datasets, ``datasets`` those of tables by shots,
    average and figure: a run that was tested for OOD detection or domain shift alone has no
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
        asked = {*results, *planned}
        rank = {name: number for number, name in enumerate(order)}
        names = {key[0] for key in asked}
        self.everything = sorted(names, key=lambda name: (rank.get(name, len(rank)), name))
        self.shots = sorted({key[1] for key in asked})
        self.count = len(results)
        self.missing = sorted(
            asked - set(results), key=lambda key: (self.everything.index(key[0]), *key[1:])
        )
        self.samplings = sorted({r.get('sampling', 'not recorded') for r in results.values()})
        rows = {
            (dataset, shots, name, seed): float(value)
            for (dataset, shots, seed), result in results.items()
            for name, value in result['metrics'].items()
        }
        index = pd.MultiIndex.from_tuples(list(rows), names=LEVELS)
        self.values = pd.Series(list(rows.values()), index, dtype=float).sort_index()
        self.metrics = sorted(set(index.get_level_values('metric')))
        self.datasets = [n for n in self.everything if not self._stands_apart(n, metric)]
        average = spread(mean_over(self.values, 'dataset', self.datasets))
        average = pd.concat({AVERAGE: average}, names=['dataset'])
        self.stats = pd.concat([spread(self.values), average])

    def _stands_apart(self, dataset: str, metric: str) -> bool:
        names = {key[2] for key in self.values.index if key[0] == dataset}
        if metric in names:
            return False
        return any(map(is_evaluation, names)) if names else dataset in EVALUATIONS

    def seeds(self, dataset: str, shots: int, metric: str) -> set[int]:
        """Those that have a value."""
        return {key[3] for key in self.values.index if key[:3] == (dataset, shots, metric)}

    def runs_with(self, metrics: Sequence[str]) -> list[tuple[str, int]]:
        """(dataset, shots) of results that have one of these metrics, in order."""
        keys = {key[:2] for key in self.values.index if key[2] in metrics}
        return sorted(keys, key=lambda key: (self.everything.index(key[0]), key[1]))

    def rows(self, metrics: Sequence[str]) -> pd.DataFrame:
        """``dataset, shots, metric, mean, std, n`` of each number that is there; average last."""
        order = pd.MultiIndex.from_product(
            [metrics, [*self.everything, AVERAGE], self.shots],
            names=['metric', 'dataset', 'shots'],
        )
        stats = self.stats.reorder_levels(order.names)
        return stats.loc[order[order.isin(stats.index)]].reset_index()[
            ['dataset', 'shots', 'metric', 'mean', 'std', 'n']
        ]


def is_evaluation(metric: str) -> bool:
    """Of one of several sets that a run was tested on."""
    return bool(SHIFT.fullmatch(metric) or OOD.fullmatch(metric))


def summarize(
    work_dir: str | Path,
    out: str | Path | None = None,
    metric: str = COMBINED,
) -> list[Path]:
    """Write summary.md, summary.csv, summary.json and accuracy_vs_shots.png.

    The same results give the same files, byte for byte. There is no figure where no result has the
    metric.

    Args:
        work_dir: Of a campaign.
        out: Folder of the files. None: ``work_dir``.
        metric: Of the first table, the figure and the comparison.

    Returns:
        The files.

    Raises:
        FileNotFoundError: There are no results.
        ValueError: A file is broken, or no result has the metric.
    """
    work_dir = Path(work_dir)
    beside = read_published()
    results = read_results(work_dir)
    names = {name for result in results.values() for name in result['metrics']}
    only_others = metric == COMBINED and any(map(is_evaluation, names))
    if metric not in names and not only_others:
        raise ValueError(
            f'no result in {work_dir} has --metric {metric}; there are {sorted(names)}'
        )
    numbers = Numbers(results, read_plan(work_dir), list(beside.few_shot)[:-1], metric)
    others = [n for pattern in (SHIFT, OOD) for n in numbers.metrics if pattern.fullmatch(n)]
    rows = numbers.rows(list(dict.fromkeys([metric, *BRANCHES, MEAN_CLASS, *others])))
    content = {
        'datasets': numbers.everything,
        'shots': numbers.shots,
        'sampling': numbers.samplings,
        'missing': [list(key) for key in numbers.missing],
        'rows': json.loads(rows.to_json(orient='records', double_precision=15)),
    }
    out = Path(out or work_dir)
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        'summary.md': as_markdown(numbers, metric, beside),
        'summary.csv': rows.to_csv(index=False, lineterminator='\n'),
        'summary.json': json.dumps(content, indent=2) + '\n',
    }
    for name, text in texts.items():
        write_atomically(out / name, text)
    files = [out / name for name in texts]
    if numbers.datasets:
        files.append(out / 'accuracy_vs_shots.png')
        plot(numbers, metric, files[-1])
    print(*files, sep='\n')
    return files


def as_markdown(numbers: Numbers, metric: str, published: Published) -> str:
    """All tables."""
    sampling, *more = numbers.samplings
    sampling = f'{sampling}, {SAMPLING[sampling]}' if sampling in SAMPLING else sampling
    if more:
        sampling = f'MIXED, do not compare rows: {", ".join(numbers.samplings)}'
    parts = [HEAD.format(count=numbers.count, sampling=sampling)]
    if numbers.missing:
        lines = ''.join(f'- {d}, {_shots(n)}, seed {seed}\n' for d, n, seed in numbers.missing)
        parts.append(f'Asked for, and without a result ({len(numbers.missing)}):\n\n{lines}')
    for name in dict.fromkeys([metric, *BRANCHES, MEAN_CLASS]):
        if name in numbers.metrics:
            parts.append(_by_shots(numbers, name))
    if numbers.datasets and metric.endswith('/top1'):  # as all published numbers are
        parts.append(_beside_published(numbers, metric, published))
    parts += _domain_shift(numbers, published)
    parts += _out_of_distribution(numbers, published)
    return '\n'.join(parts)


def table(cells: pd.DataFrame, corner: str) -> str:
    """Markdown; cells are text, and NaN where there is none."""
    rows = cells.fillna('').reset_index().astype(str).itertuples(index=False)
    return markdown_table([corner, *map(str, cells.columns)], list(rows))


def text_of(stats: pd.DataFrame) -> pd.Series:
    """E.g. '71.2 ± 0.4 (n=3)'."""

    def one(row: pd.Series) -> str:
        deviation = '' if pd.isna(row['std']) else f' ± {row["std"]:.1f}'
        return f'{row["mean"]:.1f}{deviation} (n={row["n"]:.0f})'

    return stats.apply(one, axis=1) if len(stats) else pd.Series(index=stats.index, dtype=object)


def _shots(shots: int) -> str:
    return f'{shots} shot{"s" * (shots > 1)}'


def _by_shots(numbers: Numbers, metric: str) -> str:
    known = {COMBINED: 'Top-1, combined', MEAN_CLASS: 'Mean per-class accuracy, combined'}
    known |= {name: f'Top-1, {branch}' for name, branch in BRANCHES.items()}
    title = known.get(metric, f'Top-1, {metric}' if metric.endswith('/top1') else metric)
    cells = text_of(numbers.stats.xs(metric, level='metric')).unstack('shots')
    cells = cells.reindex(index=[*numbers.datasets, AVERAGE], columns=numbers.shots)
    cells.columns = [_shots(shots) for shots in numbers.shots]
    notes = [_average_note(numbers, shots, metric) for shots in numbers.shots]
    text = f'## {title} (`{metric}`)\n\n{table(cells, "dataset")}'
    return text + ''.join(f'\n{note}\n' for note in notes if note)


def _average_note(numbers: Numbers, shots: int, metric: str) -> str:
    seeds = {name: numbers.seeds(name, shots, metric) for name in numbers.datasets}
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
    rows = published.few_shot
    *names, mean = rows.columns
    of_16 = numbers.stats[numbers.stats.index.isin([16], level='shots')]
    ours = text_of(of_16[of_16.index.isin([metric], level='metric')])
    ours = ours.droplevel(['shots', 'metric']).reindex([*names, AVERAGE])
    # the published means are over exactly these datasets
    if sorted(numbers.datasets) != sorted(names):
        ours[AVERAGE] = None
    note = ''
    if ours.notna().any():
        rows = pd.concat([rows, ours.rename({AVERAGE: mean}).to_frame('this package').T])
    else:
        note = 'No result here is of 16 shots on one of these datasets.\n\n'
    sources = '; '.join(f'{", ".join(m)}: {s}' for s, m in published.sources.items())
    return (
        f'## 16 shots, beside published results\n\n{table(rows, "method")}\n{note}{PROTOCOLS}\n'
        f'Sources: {sources}.\n'
    )


def _domain_shift(numbers: Numbers, published: Published) -> list[str]:
    source, *shifts, _ = published.shift.columns
    metrics = [f'accuracy/{name}/top1' for name in shifts]
    ours = {}
    for run in numbers.runs_with(metrics):
        cells = _cells(numbers, run, [f'accuracy/{source}/top1', COMBINED, *metrics], metrics)
        first = cells[0] or cells[1]
        ours[_label(run)] = [first, *cells[2:]]
    if not ours:
        return []
    rows = pd.concat([published.shift, _rows(ours, published.shift)])
    return [
        f'## Domain shift, top-1\n\n{table(rows, "method")}\nPublished: 16 shots of {source}; '
        f'{published.shift_source}.\n\n{PROTOCOLS}'
    ]


def _out_of_distribution(numbers: Numbers, published: Published) -> list[str]:
    names = [match for match in map(OOD.fullmatch, numbers.metrics) if match]
    if not names:
        return []
    *sets, _ = published.ood.columns
    pairs, aupr = {}, {}
    for score in sorted({match[1] for match in names}):
        for run in numbers.runs_with([match[0] for match in names if match[1] == score]):
            columns = {
                figure: [f'ood/{score}/{name}/{figure}' for name in sets]
                for figure in ('fpr95', 'auroc', 'aupr')
            }
            cells = {f: _cells(numbers, run, c, c) for f, c in columns.items()}
            pairs[_label(run, f', {score}')] = [
                f'{fpr95 or "-"} / {auroc or "-"}' if fpr95 or auroc else ''
                for fpr95, auroc in zip(cells['fpr95'], cells['auroc'])
            ]
            if any(cells['aupr']):
                aupr[_label(run, f', {score}')] = cells['aupr']
    rows = pd.concat([published.ood, _rows(pairs, published.ood)])
    parts = [
        f'## Out-of-distribution detection, FPR95 (lower is better) / AUROC\n\n'
        f'{table(rows, "method")}\nPublished: ImageNet, 16 shots; {published.ood_source}.\n\n'
        f'{PROTOCOLS}'
    ]
    if aupr:
        text = table(_rows(aupr, published.ood), 'method')
        parts.append(f'## Out-of-distribution detection, AUPR\n\n{text}')
    return parts


def _cells(
    numbers: Numbers, run: tuple[str, int], metrics: list[str], averaged: list[str]
) -> list[str]:
    """Text for each metric of a run, and for the mean over ``averaged``; '' for none."""
    of_run = numbers.values.xs(run, level=('dataset', 'shots'))
    mean = pd.concat({AVERAGE: mean_over(of_run, 'metric', averaged)}, names=['metric'])
    texts = text_of(spread(pd.concat([of_run, mean])))
    return [texts.get(name, '') for name in [*metrics, AVERAGE]]


def _rows(cells: dict[str, list[str]], like: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame.from_dict(cells, orient='index', columns=list(like.columns))


def _label(run: tuple[str, int], more: str = '') -> str:
    return f'this package, {run[0]}, {_shots(run[1])}{more}'


def plot(numbers: Numbers, metric: str, file: Path) -> None:
    """One panel a dataset, the average first; mean, and a band of one standard deviation."""
    from matplotlib.figure import Figure

    panels = [AVERAGE, *numbers.datasets]
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2.6 * columns + 0.5, 2.2 * rows + 0.6), layout='constrained')
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax, name in zip(axes, panels):
        of_it = numbers.stats[numbers.stats.index.isin([name], level='dataset')]
        of_it = of_it[of_it.index.isin([metric], level='metric')].droplevel(['dataset', 'metric'])
        _draw_panel(ax, of_it.sort_index(), name, numbers.shots)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    figure.supxlabel('images per class (shots)', fontsize='medium')
    figure.supylabel(f'{metric}, %', fontsize='medium')
    figure.savefig(file, dpi=150, metadata={'Software': None})


def _draw_panel(ax: Any, stats: pd.DataFrame, name: str, shots: list[int]) -> None:
    bold = name == AVERAGE
    ax.set_title(name.replace('_', ' '), fontsize='medium', weight='bold' if bold else 'normal')
    ax.set_xscale('log', base=2)
    ax.set_xticks(shots, [str(each) for each in shots])
    ax.set_xlim(shots[0] / 1.2, shots[-1] * 1.2)
    ax.minorticks_off()
    ax.tick_params(labelsize='small')
    ax.grid(alpha=0.3)
    if stats.empty:
        ax.set_yticks([])
        ax.text(0.5, 0.5, 'not complete', transform=ax.transAxes, ha='center', va='center')
        return
    color = 'tab:red' if bold else 'tab:blue'
    mean, std = stats['mean'], stats['std'].fillna(0)
    ax.plot(mean.index, mean, 'o-', color=color, markersize=3.5, linewidth=1.4)
    ax.fill_between(mean.index, mean - std, mean + std, color=color, alpha=0.2, linewidth=0)
    if len(mean) == 1:  # a band of one point has no width to be seen
        ax.errorbar(mean.index, mean, std, color=color, capsize=3)

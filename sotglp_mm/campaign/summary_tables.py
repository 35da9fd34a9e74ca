"""The summary of a campaign as Markdown."""

from .summary_numbers import (
    AVERAGE,
    BRANCHES,
    COMBINED,
    MEAN_CLASS,
    OOD,
    Numbers,
    mean_std,
)

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


def as_markdown(numbers: Numbers, metric: str, published: dict) -> str:
    """All tables."""
    parts = [HEAD.format(count=len(numbers.results), sampling=_samplings(numbers))]
    parts += _missing(numbers)
    for name in dict.fromkeys([metric, *BRANCHES, MEAN_CLASS]):
        if any(name in result['metrics'] for result in numbers.results.values()):
            parts.append(_by_shots(numbers, name, _title(name)))
    if numbers.datasets and metric.endswith('/top1'):  # as all published numbers are
        parts.append(_beside_published(numbers, metric, published))
    parts += _domain_shift(numbers, published['domain_shift_top1'])
    parts += _out_of_distribution(numbers, published['ood_imagenet_fpr95_auroc'])
    return '\n'.join(parts)


def _title(metric: str) -> str:
    known = {COMBINED: 'Top-1, combined', MEAN_CLASS: 'Mean per-class accuracy, combined'}
    known.update({name: f'Top-1, {branch}' for name, branch in BRANCHES.items()})
    return known.get(metric, f'Top-1, {metric}' if metric.endswith('/top1') else metric)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column is text."""
    lines = [head, ['---', *['--:'] * (len(head) - 1)], *rows]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def number(cell: dict | None, with_count: bool = True) -> str:
    """E.g. '71.2 ± 0.4 (n=3)'."""
    if cell is None:
        return ''
    spread = '' if cell['std'] is None else f' ± {cell["std"]:.1f}'
    return f'{cell["mean"]:.1f}{spread}' + (f' (n={cell["n"]})' if with_count else '')


def _shots(shots: int) -> str:
    return f'{shots} shot{"s" * (shots > 1)}'


def _samplings(numbers: Numbers) -> str:
    if len(numbers.samplings) > 1:
        return f'MIXED, do not compare rows: {", ".join(numbers.samplings)}'
    only = numbers.samplings[0]
    return f'{only}, {SAMPLING[only]}' if only in SAMPLING else only


def _missing(numbers: Numbers) -> list[str]:
    if not numbers.missing:
        return []
    lines = [
        f'- {dataset}, {_shots(shots)}, seed {seed}' for dataset, shots, seed in numbers.missing
    ]
    return [f'Asked for, and without a result ({len(lines)}):\n\n' + '\n'.join(lines) + '\n']


def _by_shots(numbers: Numbers, metric: str, title: str) -> str:
    rows = [
        [name, *(number(numbers.cell(name, shots, metric)) for shots in numbers.shots)]
        for name in [*numbers.datasets, AVERAGE]
    ]
    head = ['dataset', *map(_shots, numbers.shots)]
    notes = [_average_note(numbers, shots, metric) for shots in numbers.shots]
    text = f'## {title} (`{metric}`)\n\n{table(head, rows)}'
    return text + ''.join(f'\n{note}\n' for note in notes if note)


def _average_note(numbers: Numbers, shots: int, metric: str) -> str:
    lacking = numbers.lacking(shots, metric)
    if lacking:
        return f'No average for {_shots(shots)}: nothing of {", ".join(lacking)}.'
    common = numbers.common_seeds(shots, metric)
    if not common:
        return f'No average for {_shots(shots)}: no seed that all datasets have.'
    each = [set(numbers.by_seed(name, shots, metric)) for name in numbers.datasets]
    if any(seeds != set(common) for seeds in each):
        return f'The average for {_shots(shots)} is over seeds that all datasets have: {common}.'
    return ''


def _beside_published(numbers: Numbers, metric: str, published: dict) -> str:
    names = published['datasets']
    rows = [
        [row['method'], *map(_plain, row['values'] or [None] * len(names)), _plain(row['mean'])]
        for row in published['few_shot_top1']
    ]
    ours = [numbers.cell(name, 16, metric) for name in names]
    # the published means are over exactly these datasets
    own_mean = (
        numbers.cell(AVERAGE, 16, metric) if sorted(numbers.datasets) == sorted(names) else None
    )
    if any(ours):
        rows.append(['this package', *map(number, ours), number(own_mean)])
    text = f'## 16 shots, beside published results\n\n{table(["method", *names, "mean"], rows)}\n'
    if not any(ours):
        text += 'No result here is of 16 shots on one of these datasets.\n\n'
    return f'{text}{PROTOCOLS}\n{_sources(published["few_shot_top1"])}'


def _sources(rows: list[dict]) -> str:
    by_source: dict[str, list[str]] = {}
    for row in rows:
        by_source.setdefault(row['source'], []).append(row['method'])
    return 'Sources: ' + '; '.join(f'{", ".join(m)}: {s}' for s, m in by_source.items()) + '.\n'


def _plain(value: str | float | None) -> str:
    """A published number, as it was published."""
    return '' if value is None else str(value)


def _runs_with(numbers: Numbers, names: list[str]) -> list[tuple[str, int]]:
    """(dataset, shots) of results that hold one of these metrics."""
    found = {key[:2] for key, r in numbers.results.items() if set(names) & set(r['metrics'])}
    return sorted(found, key=lambda key: (numbers.everything.index(key[0]), key[1]))


def _label(dataset: str, shots: int, what: str = '') -> str:
    return f'this package, {dataset}, {_shots(shots)}{what}'


def _domain_shift(numbers: Numbers, published: dict) -> list[str]:
    source, *shifts, mean = published['sets']
    columns = [f'accuracy/{name}/top1' for name in shifts]
    runs = _runs_with(numbers, columns)
    if not runs:
        return []
    rows = [[method, *map(_plain, values)] for method, values in published['rows'].items()]
    for run in runs:
        first = numbers.cell(*run, f'accuracy/{source}/top1') or numbers.cell(*run, COMBINED)
        cells = [numbers.cell(*run, column) for column in columns]
        rows.append([_label(*run), *map(number, [first, *cells, _mean_of(numbers, run, columns)])])
    head = ['method', source, *shifts, mean]
    return [
        f'## Domain shift, top-1\n\n{table(head, rows)}\nPublished: 16 shots of {source}; '
        f'{published["source"]}.\n\n{PROTOCOLS}'
    ]


def _mean_of(numbers: Numbers, run: tuple[str, int], columns: list[str]) -> dict | None:
    """Mean over all columns seed by seed, or None while one lacks."""
    values = [numbers.by_seed(*run, column) for column in columns]
    seeds = set.intersection(*map(set, values))
    means = [sum(v[seed] for v in values) / len(values) for seed in sorted(seeds)]
    return mean_std(means) if means else None


def _out_of_distribution(numbers: Numbers, published: dict) -> list[str]:
    names = numbers.metrics_like(OOD)
    if not names:
        return []
    *sets, _ = published['sets']  # the last is their mean
    rows = [
        [method, *(' / '.join(_plain(v) or '-' for v in pair) if pair else '' for pair in values)]
        for method, values in published['rows'].items()
    ]
    ours = [
        (_label(*run, f', {score}'), run, score)
        for score in sorted({OOD.fullmatch(name)[1] for name in names})
        for run in _runs_with(numbers, [n for n in names if OOD.fullmatch(n)[1] == score])
    ]
    head = ['method', *published['sets']]
    rows += [[label, *_ood_cells(numbers, *each, sets)] for label, *each in ours]
    aupr = [[label, *_ood_cells(numbers, *each, sets, ('aupr',))] for label, *each in ours]
    aupr = [row for row in aupr if any(row[1:])]
    beside = f'## Out-of-distribution detection, AUPR\n\n{table(head, aupr)}'
    return [
        f'## Out-of-distribution detection, FPR95 (lower is better) / AUROC\n\n'
        f'{table(head, rows)}\nPublished: ImageNet, 16 shots; {published["source"]}.\n\n'
        f'{PROTOCOLS}',
        *([beside] if aupr else []),
    ]


def _ood_cells(
    numbers: Numbers,
    run: tuple[str, int],
    score: str,
    sets: list[str],
    figures: tuple[str, ...] = ('fpr95', 'auroc'),
) -> list[str]:
    pairs = []
    for name in sets:
        pairs.append([numbers.cell(*run, f'ood/{score}/{name}/{m}') for m in figures])
    means = [[f'ood/{score}/{name}/{m}' for name in sets] for m in figures]
    pairs.append([_mean_of(numbers, run, columns) for columns in means])
    return [' / '.join(number(c) or '-' for c in pair) if any(pair) else '' for pair in pairs]

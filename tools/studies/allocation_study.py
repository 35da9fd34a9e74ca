"""Does optimal transport do anything? Settings of the allocation, on the demo's two datasets.

    python tools/studies/allocation_study.py
    DATA=/datasets python tools/studies/allocation_study.py --datasets eurosat caltech101

tunes each variant's learning rate on validation images, with the same number of tries, measures
it with five seeds, and writes tables and plots; docs/allocation.md says what came out. It takes
an hour or so on two idle cores, and goes on where it was when it is started again.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import study
from matplotlib.figure import Figure

from sotglp_mm.apis import load_config
from sotglp_mm.utils.packaged_files import CONFIGS
from sotglp_mm.utils.tables import markdown_table

PLAN_COLUMNS = {
    'entropy (1: uniform)': 'allocation/entropy',
    'overlap of prompts': 'allocation/overlap',
    'cosine of prompts': 'allocation/prompt_cosine',
    'information on parts': 'allocation/part_information',
    'spread of similarities': 'allocation/spread',
}
SETTINGS = {'prompts': 'prompts of a class, N', 'k': 'patches, K', 'epsilon': 'epsilon'}
BOTH = study.COLUMNS['combined'], study.COLUMNS['local']  # CoOp has no local branch
OT, UNIFORM = 'OT', 'uniform plan'
PLANS = {'OTAllocationLoss': OT, 'UniformAllocationLoss': UNIFORM}

Point = tuple[dict, list[float], str]
"""Settings of a row, combined accuracy of each seed, name of the row."""


def _variant(
    name: str,
    *,
    rank: str = 'mean',
    k: int | str = 10,
    epsilon: float | None = 0.1,
    reduction: str = 'sum',
    init: str = 'template',
    method: str = 'sotglp',
    prompts: int = 4,
    **loss: Any,
) -> study.Variant:
    """SOT-GLP with other settings; ``epsilon`` None is the uniform plan."""
    if epsilon is None:
        loss = dict(_delete_=True, type='UniformAllocationLoss', reduction=reduction)
    else:
        loss = dict(epsilon=epsilon, reduction=reduction, **loss)
    options = {
        'model.head.selector': dict(k=k, rank=rank),
        'model.head.local_loss': loss,
        'model.head.local_init': init,
        'model.head.num_local_prompts': prompts,
    }
    return study.Variant(name, method, options)


SOFT: dict[str, Any] = dict(rank='logsumexp', k=20)
CAPPED: dict[str, Any] = dict(_delete_=True, type='CappedAllocationLoss', capacity=20)
MAIN = [
    study.Variant('paper', 'sotglp'),
    _variant('paper, uniform plan', epsilon=None, reduction='mean', init='random'),
    _variant('mean 10, OT 0.1'),
    _variant('mean 10, uniform', epsilon=None),
    # the same two plans behind either ranking, all else equal
    _variant('mean 20, OT 0.05', k=20, epsilon=0.05),
    _variant('mean 20, uniform', k=20, epsilon=None),
    _variant('soft 20, OT 0.05', **SOFT, epsilon=0.05),
    _variant('soft 20, uniform', **SOFT, epsilon=None),
    # other supports and a more decided plan
    _variant('soft 10, OT 0.05', rank='logsumexp', epsilon=0.05),
    _variant('soft 20, OT 0.02', **SOFT, epsilon=0.02),
    _variant('all, capped 20', k='all', epsilon=0.05, **CAPPED),
    study.Variant('GalLoP', 'gallop'),
]
PHOTOS = [
    study.Variant('paper', 'sotglp'),
    _variant('paper, uniform plan', epsilon=None, reduction='mean', init='random'),
    _variant('mean 10, OT 0.1'),
    _variant('mean 10, uniform', epsilon=None),
    _variant('soft 20, OT 0.02', **SOFT, epsilon=0.02),
    _variant('soft 20, uniform', **SOFT, epsilon=None),
    study.Variant('GalLoP', 'gallop'),
    study.Variant('CoOp', 'coop'),
]
MORE = [
    _variant('mean 10, OT 0.1, random start', init='random'),
    _variant('soft 40, OT 0.05', rank='logsumexp', k=40, epsilon=0.05),
    _variant('soft 20, OT 0.5 sd', **SOFT, epsilon=0.5, relative=True),
    _variant('soft 20, 1 prompt', **SOFT, epsilon=0.05, prompts=1),
    _variant('soft 20, OT 0.05, 2 prompts', **SOFT, epsilon=0.05, prompts=2),
    _variant('soft 20, uniform, 2 prompts', **SOFT, epsilon=None, prompts=2),
    _variant('soft 20, OT 0.05, no projection', **SOFT, epsilon=0.05, method='sotglp_noproj'),
    _variant('soft 20, uniform, no projection', **SOFT, epsilon=None, method='sotglp_noproj'),
]
VARIANTS = {'scenes': MAIN + MORE, 'digits': MAIN, 'eurosat': PHOTOS, 'caltech101': PHOTOS}
"""The scenes are made of parts, so the settings are mapped there."""


def main() -> None:
    args = study.parse_args(__doc__.splitlines()[0], 'work_dirs/allocation', seeds=[1, 2, 3, 4, 5])
    rows = []
    for dataset in args.datasets:
        variants = study.chosen(VARIANTS[dataset], args.only)
        rows += study.run(variants, [dataset], args.seeds, args.work_dir, args.workers)
    (args.work_dir / 'allocation.json').write_text(json.dumps(rows, indent=1) + '\n')
    write_report(rows, args.work_dir)
    print(f'written to {args.work_dir}')


def write_report(rows: list[dict], out: Path) -> None:
    """``accuracy.md``, ``gains.md``, ``plans.md``, and two figures, ``allocation*.png``."""
    columns = {key: study.COLUMNS[key] for key in ('combined', 'global', 'local', 'GL-MCM AUROC')}
    (out / 'accuracy.md').write_text(study.caption(rows) + study.table(rows, columns))
    (out / 'plans.md').write_text(study.table(rows, PLAN_COLUMNS, digits=2))
    (out / 'gains.md').write_text(gains(rows))
    _write_plot(rows, out / 'allocation.png')
    write_settings_plot(rows, out / 'allocation_settings.png')


def gains(rows: list[dict]) -> str:
    """Markdown: differences, seed by seed: to a uniform plan, and to the first line."""
    text = ''
    for dataset, mine in study.by_dataset(rows).items():
        known = [(row, settings_of(row)) for row in mine]
        even = [
            (row, other)
            for row, settings in known
            if (other := _uniform_counterpart(settings, known))
        ]
        text += _differences(f'{dataset}: OT minus uniform', even)
        first = [(row, mine[0]) for row in mine[1:]]
        text += _differences(f'{dataset}: minus {mine[0]["variant"]}', first)
    return text


def _differences(title: str, pairs: list[tuple[dict, dict]]) -> str:
    cells = []
    for row, other in pairs:
        pairs_of = [(row['metrics'].get(key), other['metrics'].get(key)) for key in BOTH]
        combined, local = (np.subtract(*each) if all(each) else [] for each in pairs_of)
        shown = [study.show(list(each), sign='+') for each in (combined, local)]
        cells.append([row['variant'], *shown, f'{(combined > 0).sum()} of {len(combined)}'])
    return markdown_table([title, 'combined', 'local', 'seeds that gain'], cells) + '\n'


def _uniform_counterpart(settings: dict | None, known: list) -> dict | None:
    """The row with a uniform plan and the same other settings, of rows and their settings."""
    if settings is None or settings['plan'] != OT:
        return None
    even = {**settings, 'plan': UNIFORM, 'epsilon': None, 'relative': False}
    return next((row for row, other in known if other == even), None)


def settings_of(row: dict) -> dict | None:
    """What a row was run with; None if it has no local prompts of each class.

    A plan other than those of ``PLANS`` goes by its type and its own settings.
    """
    cfg = load_config(CONFIGS / 'demo' / f'{row["method"]}.py', row['options'])
    head = cfg.model.head
    if not head.get('num_local_prompts') or head.get('local_shared'):
        return None
    loss, selector = dict(head.local_loss), dict(head.selector)
    settings = dict(
        prompts=head.num_local_prompts,
        k=selector.pop('k'),
        epsilon=loss.pop('epsilon', None),
        score=loss.pop('reduction'),
        relative=loss.pop('relative', False),
        ranking=selector.pop('rank', 'mean'),
        start=head.get('local_init', 'random'),
        projection=cfg.model.neck.learn,
        selector=selector,
    )
    kind = str(loss.pop('type'))
    words = [PLANS.get(kind, kind), *(f'{key} {value}' for key, value in loss.items())]
    return dict(plan=', '.join(words), **settings)


def lines_over(points: list[Point], setting: str) -> tuple[dict, dict[str, list[tuple]]]:
    """The most rows with transport that differ in one of ``SETTINGS``, and other plans beside.

    Returns:
        tuple: What the rows share; and by plan, ``(value of the setting, accuracies, name)`` of
        each row, in order.
    """
    shared = [
        {key: value for key, value in settings.items() if key != setting}
        for settings, *_ in points
        if settings['plan'] == OT
    ]
    if not shared:
        return {}, {}
    common = max(shared, key=shared.count)
    lines: dict[str, list[tuple]] = {}
    for settings, *point in points:
        # a plan that is not of transport has no epsilon
        free = {'plan', setting, *(('epsilon', 'relative') if settings['epsilon'] is None else ())}
        if all(settings[key] == value for key, value in common.items() if key not in free):
            lines.setdefault(settings['plan'], []).append((settings[setting], *point))
    return common, {
        plan: sorted(line, key=lambda point: _place(point[0])) for plan, line in lines.items()
    }


def _place(value: Any) -> float:
    return value if isinstance(value, int | float) else float('inf')  # k 'all'; no epsilon


def write_settings_plot(rows: list[dict], file: Path) -> None:
    """Combined top-1 over N, K and epsilon; a row for each dataset where one of them varies.

    Rows that are on no line are named below.
    """
    panels, left_out = {}, {}
    for dataset, mine in study.by_dataset(rows).items():
        found = [
            (settings, row['metrics'][study.COLUMNS['combined']], row['variant'])
            for row in mine
            if (settings := settings_of(row)) is not None
        ]
        each = {setting: lines_over(found, setting) for setting in SETTINGS}
        shown = {
            name for _, lines in each.values() for line in lines.values() for *_, name in line
        }
        left_out[dataset] = [row['variant'] for row in mine if row['variant'] not in shown]
        if any(len(lines.get(OT, [])) > 1 for _, lines in each.values()):
            panels[dataset] = each
    if not panels:
        return
    figure = Figure(figsize=(14, 5 * len(panels)), layout='constrained')
    grid = figure.subplots(len(panels), len(SETTINGS), squeeze=False, sharey='row')
    for axes_of_row, (dataset, each) in zip(grid, panels.items()):
        for axes, (setting, (shared, lines)) in zip(axes_of_row, each.items()):
            _draw_panel(axes, lines)
            axes.set_xlabel(SETTINGS[setting])
            axes.set_title(f'{dataset}\n{_describe(shared)}', size=9)
        axes_of_row[0].set_ylabel('combined top-1, %')
    notes = [f'{name}, on no line: {"; ".join(left_out[name])}' for name in panels]
    figure.supxlabel('\n'.join(notes), size=8)
    figure.savefig(file, dpi=110)


def _draw_panel(axes: Any, lines: dict[str, list[tuple]]) -> None:
    """Values stand side by side, in order, whatever their distances."""
    found = {point[0] for line in lines.values() for point in line}
    values = sorted(found - {None}, key=_place)
    for number, (plan, line) in enumerate(sorted(lines.items(), key=lambda each: each[0] != OT)):
        means, deviations = zip(*(study.mean_and_deviation(point[1]) for point in line))
        colour, shift = f'C{number}', 0.06 * number - 0.03  # bars do not lie over each other
        if line[0][0] is None:  # over epsilon: the same wherever one looks
            axes.axhline(means[0], color=colour, label=plan)
            ends = means[0] - deviations[0], means[0] + deviations[0]
            axes.axhspan(*ends, color=colour, alpha=0.15)
        else:
            places = [values.index(point[0]) + shift for point in line]
            style = dict(color=colour, label=plan, marker='o', capsize=3)
            axes.errorbar(places, means, yerr=deviations, **style)
    axes.set_xticks(range(len(values)), [str(value) for value in values])
    axes.margins(x=0.15)
    axes.grid(alpha=0.3)
    if lines:
        axes.legend()


def _describe(shared: dict) -> str:
    if not shared:
        return 'no such rows'
    names = {'prompts': 'N', 'k': 'K'}
    order = ('prompts', 'k', 'epsilon', 'ranking', 'score', 'start')
    words = [f'{names.get(name, name)} {shared[name]}' for name in order if name in shared]
    return ', '.join(words if shared['projection'] else [*words, 'no projection'])


def _write_plot(rows: list[dict], file: Path) -> None:
    """For each dataset: accuracy of the local branch against how decided the plan is."""
    datasets = study.by_dataset(rows)
    figure = Figure(figsize=(11, 7 * len(datasets)), layout='constrained')
    grid = figure.subplots(len(datasets), squeeze=False)[:, 0]
    for axes, (dataset, rows_of) in zip(grid, datasets.items()):
        mine = [row for row in rows_of if 'allocation/overlap' in row['metrics']]
        study.draw_numbered(
            axes,
            [row['variant'] for row in mine],
            [row['metrics']['allocation/overlap'] for row in mine],
            [row['metrics'][study.COLUMNS['local']] for row in mine],
        )
        axes.set(
            xlabel='overlap of prompts (1: all share all patches)',
            ylabel='top-1 of the local branch, %',
            title=dataset,
        )
    figure.savefig(file, dpi=110)


if __name__ == '__main__':
    main()

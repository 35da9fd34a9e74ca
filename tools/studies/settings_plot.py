"""Accuracy over one setting at a time, transport beside the uniform plan."""

from pathlib import Path

from compare_report import COLUMNS
from mmengine.config import Config
from tuned_runs import mean_and_deviation

from sotglp_mm.demo.runs import CONFIGS

SETTINGS = {'prompts': 'prompts of a class, N', 'k': 'patches, K', 'epsilon': 'epsilon'}
PLANS = {'OTAllocationLoss': 'OT', 'UniformAllocationLoss': 'uniform plan'}

Line = list[tuple]
"""``(value of the setting, mean, standard deviation)`` of each row."""


def settings_of(row: dict) -> dict | None:
    """What a row was run with; None if it has another kind of plan or support."""
    cfg = Config.fromfile(CONFIGS / 'demo' / f'{row["method"]}.py')
    cfg.merge_from_dict(row['options'])
    head = cfg.model.head
    if not head.get('num_local_prompts') or head.get('local_shared'):
        return None
    selector, loss = head.selector, head.local_loss
    if loss.type not in PLANS or selector.type != 'SparsePatchSelector':
        return None
    return dict(
        plan=PLANS[loss.type],
        prompts=head.num_local_prompts,
        k=selector.k,
        epsilon=loss.get('epsilon'),
        ranking=selector.rank,
        score=loss.reduction,
        start=head.get('local_init', 'random'),
        relative=loss.get('relative', False),
        projection=cfg.model.neck.learn,
    )


def lines_over(found: list[tuple], setting: str) -> tuple[dict, Line, Line]:
    """The most rows with transport that differ in one setting alone, and the uniform ones beside.

    Args:
        found: ``(settings, mean, deviation)`` of each row.
        setting: Of ``SETTINGS``.

    Returns:
        tuple: What the rows share, the line of transport, and that of the uniform plan.
    """
    groups: dict[tuple, Line] = {}
    for settings, *point in found:
        shared = tuple((name, value) for name, value in settings.items() if name != setting)
        groups.setdefault(shared, []).append((settings[setting], *point))
    transported = [shared for shared in groups if ('plan', 'OT') in shared]
    if not transported:
        return {}, [], []
    shared = dict(max(transported, key=lambda shared: len(groups[shared])))
    even = {**shared, 'plan': PLANS['UniformAllocationLoss']}
    if setting != 'epsilon':
        even['epsilon'] = None  # it has none
    lines = [groups.get(tuple(each.items()), []) for each in (shared, even)]
    return shared, *(sorted(line, key=_place) for line in lines)


def _place(point: tuple) -> float:
    value = point[0]
    return value if isinstance(value, int | float) else float('inf')  # k 'all'; no epsilon


def write_settings_plot(rows: list[dict], file: Path) -> None:
    """Combined top-1 over N, K and epsilon; a row for each dataset where one of them varies."""
    from matplotlib.figure import Figure

    panels = {}
    for dataset in dict.fromkeys(row['dataset'] for row in rows):
        mine = [row for row in rows if row['dataset'] == dataset]
        known = [(settings_of(row), row['metrics'][COLUMNS['combined']]) for row in mine]
        found = [(s, *mean_and_deviation(values)) for s, values in known if s is not None]
        panels[dataset] = [(setting, *lines_over(found, setting)) for setting in SETTINGS]
    varied = {d: each for d, each in panels.items() if any(len(line) > 1 for *_, line, _ in each)}
    panels = varied or panels
    figure = Figure(figsize=(14, 5 * len(panels)), layout='constrained')
    grid = figure.subplots(len(panels), len(SETTINGS), squeeze=False, sharey='row')
    for line_of_axes, (dataset, each) in zip(grid, panels.items()):
        for axes, panel in zip(line_of_axes, each):
            _draw(axes, dataset, *panel)
        line_of_axes[0].set_ylabel('combined top-1, %')
    figure.savefig(file, dpi=110)


def _draw(axes, dataset: str, setting: str, shared: dict, transport: Line, even: Line) -> None:
    """One panel; values stand side by side, in order, whatever their distances."""
    points = [point for point in transport + even if point[0] is not None]
    values = list(dict.fromkeys(point[0] for point in sorted(points, key=_place)))
    style = dict(marker='o', capsize=3)
    sides = ((transport, 'OT', 'C0', -0.03), (even, 'uniform plan', 'C1', 0.03))
    for line, label, colour, shift in sides:  # so that bars do not lie over each other
        if line and line[0][0] is None:  # over epsilon: the same wherever one looks
            _, mean, deviation = line[0]
            axes.axhline(mean, color=colour, label=label)
            axes.axhspan(mean - deviation, mean + deviation, color=colour, alpha=0.15)
        elif line:
            places = [values.index(point[0]) + shift for point in line]
            _, means, deviations = zip(*line)
            axes.errorbar(places, means, yerr=deviations, color=colour, label=label, **style)
    axes.set_xticks(range(len(values)), [str(value) for value in values])
    axes.margins(x=0.15)
    axes.set_xlabel(SETTINGS[setting])
    axes.set_title(f'{dataset}\n{_in_words(shared, setting)}', size=9)
    axes.grid(alpha=0.3)
    if values:
        axes.legend()


def _in_words(shared: dict, setting: str) -> str:
    if not shared:
        return 'no such rows'
    words = {'prompts': 'N', 'k': 'K'}
    order = ('prompts', 'k', 'epsilon', 'ranking', 'score', 'start')
    named = [f'{words.get(name, name)} {shared[name]}' for name in order if name in shared]
    named += [] if shared['projection'] else ['no projection']
    return ', '.join(named)

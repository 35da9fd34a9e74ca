"""Accuracy over shots as a figure."""

import math
from pathlib import Path

from .summary_numbers import AVERAGE, Numbers

COLUMNS = 4


def plot(numbers: Numbers, metric: str, file: Path) -> None:
    """One panel a dataset, the average first; mean, and a band of one standard deviation."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [AVERAGE, *numbers.datasets]
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2.6 * columns + 0.5, 2.2 * rows + 0.6), layout='constrained')
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, name in zip(grid, panels):
        _panel(axes, numbers, name, metric)
    for axes in list(grid):  # those that are left over
        axes.set_axis_off()
    figure.supxlabel('images per class (shots)', fontsize='medium')
    figure.supylabel(f'{metric}, %', fontsize='medium')
    figure.savefig(file, dpi=150, metadata={'Software': None})


def _panel(axes, numbers: Numbers, name: str, metric: str) -> None:
    cells = {shots: numbers.cell(name, shots, metric) for shots in numbers.shots}
    cells = {shots: cell for shots, cell in cells.items() if cell}
    bold = name == AVERAGE
    axes.set_title(name.replace('_', ' '), fontsize='medium', weight='bold' if bold else 'normal')
    axes.set_xscale('log', base=2)
    axes.set_xticks(numbers.shots, [str(shots) for shots in numbers.shots])
    axes.set_xlim(numbers.shots[0] / 1.2, numbers.shots[-1] * 1.2)
    axes.minorticks_off()
    axes.tick_params(labelsize='small')
    axes.grid(alpha=0.3)
    if not cells:
        axes.set_yticks([])
        axes.text(0.5, 0.5, 'not complete', transform=axes.transAxes, ha='center', va='center')
        return
    means = [cell['mean'] for cell in cells.values()]
    spreads = [cell['std'] or 0.0 for cell in cells.values()]
    color = 'tab:red' if bold else 'tab:blue'
    axes.plot(list(cells), means, 'o-', color=color, markersize=3.5, linewidth=1.4)
    low = [mean - spread for mean, spread in zip(means, spreads)]
    high = [mean + spread for mean, spread in zip(means, spreads)]
    axes.fill_between(list(cells), low, high, color=color, alpha=0.2, linewidth=0)
    if len(cells) == 1:  # a band of one point has no width to be seen
        axes.errorbar(list(cells), means, spreads, color=color, capsize=3)

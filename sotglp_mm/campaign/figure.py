"""The figure of a campaign, or of several: accuracy against the number of shots."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from .numbers import AVERAGE, Numbers, Seeds, mean_and_deviation, panels_of, shots_of

COLUMNS = 4


def plot(campaigns: dict[str, Numbers], metric: str, file: Path) -> None:
    """One panel a dataset, the average first; mean, and a band of one standard deviation."""
    from matplotlib.figure import Figure

    panels, shots = panels_of(campaigns), shots_of(campaigns)
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2.6 * columns + 0.5, 2.2 * rows + 0.6), layout='constrained')
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax, name in zip(axes, panels):
        _set_up_panel(ax, name, shots)
        lines = [
            {each: values for each in shots if (values := numbers.of(name, each, metric))}
            for numbers in campaigns.values()
        ]
        for color, points in enumerate(lines):
            if points:
                _draw_line(ax, points, f'C{color}')
        if not any(lines):
            ax.set_yticks([])
            ax.text(0.5, 0.5, 'not complete', transform=ax.transAxes, ha='center', va='center')
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    if len(campaigns) > 1:
        handles = [axes[0].plot([], [], f'oC{color}-')[0] for color in range(len(campaigns))]
        figure.legend(handles, campaigns, loc='outside right upper', fontsize='small')
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


def _draw_line(ax: Any, points: dict[int, Seeds], color: str) -> None:
    mean, deviation = np.array([mean_and_deviation(values) for values in points.values()]).T
    deviation, where = np.nan_to_num(deviation), list(points)
    ax.plot(where, mean, 'o-', color=color, markersize=3.5, linewidth=1.4)
    band = dict(color=color, alpha=0.2, linewidth=0)
    ax.fill_between(where, mean - deviation, mean + deviation, **band)
    if len(mean) == 1:  # a band of one point has no width to be seen
        ax.errorbar(where, mean, deviation, color=color, capsize=3)

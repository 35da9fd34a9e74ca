"""Results of the benchmark as a figure."""

import sys
from pathlib import Path

from bench_report import COMPARED, OTHERS, PACKAGE
from bench_scaling import GROWING, SWEPT

STACKS = {
    'batch_s': ('image_forward_s', 'local_s'),
    'step_s': ('text_forward_s', 'image_forward_s', 'local_s', 'backward_s', 'other_s'),
    'local_s': ('local_forward_s', 'local_backward_s'),
}
"""What a whole is made of; the first whole that a result has is drawn."""


def figure_class() -> type:
    """matplotlib's Figure, or a message; asked for before anything long starts."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.exit("benchmark: --plot needs matplotlib; install it with: pip install '.[plot]'")
    return Figure


def plot(result: dict, file: Path) -> None:
    """Write the figure; the file's ending decides the format."""
    figure = figure_class()(layout='constrained')
    if 'sweeps' in result:
        _plot_sweeps(result['sweeps'], figure)
    else:
        _plot_bars(result, figure)
    figure.savefig(file, dpi=150)


def _plot_bars(result: dict, figure) -> None:
    figure.set_size_inches(9, 3)
    axes, memory_axes = figure.subplots(1, 2, width_ratios=(2, 1), sharey=True)
    bars = {PACKAGE: result}
    bars |= {label: result[key] for key, label in OTHERS.items() if key in result}
    bars = {label: figures for label, figures in bars.items() if 'failed' not in figures}
    whole = next(key for key in STACKS if key in result)
    left = [0.0] * len(bars)
    for part in STACKS[whole]:
        seconds = [figures.get(part, 0.0) for figures in bars.values()]
        axes.barh(list(bars), seconds, left=left, label=COMPARED[part].removesuffix(', s'))
        left = [a + b for a, b in zip(left, seconds)]
    memory = 'local_memory_gb' if 'local_memory_gb' in result else 'peak_gb'
    memory_axes.barh(list(bars), [figures.get(memory, 0.0) for figures in bars.values()])
    axes.set_xlabel(COMPARED[whole])
    axes.invert_yaxis()
    figure.legend(loc='outside upper center', ncols=5, fontsize='small')
    memory_axes.set_xlabel(COMPARED[memory])


def _plot_sweeps(sweeps: dict, figure) -> None:
    figure.set_size_inches(3 * len(sweeps), 5)
    grid = figure.subplots(len(GROWING), len(sweeps), squeeze=False)
    for row, key in zip(grid, GROWING):
        for axes, (name, sweep) in zip(row, sweeps.items()):
            axes.plot(sweep['values'], sweep[key], 'o')
            fit = sweep['fits'][key]
            if fit['slope'] is not None:
                ends = [min(sweep['values']), max(sweep['values'])]
                line = [fit['intercept'] + fit['slope'] * x for x in ends]
                axes.plot(ends, line, label=f'R$^2$ = {fit["r2"]:.3f}')
                axes.legend(fontsize='small')
            axes.set_ylim(0, 1.1 * max(sweep[key]))
            axes.set_xlabel(SWEPT[name])
            axes.set_ylabel(COMPARED[key])

"""Tables and plots of allocation_study.py."""

from pathlib import Path

from _compare_report import COLUMNS, table
from _tuned_runs import LEARNING_RATES, mean_and_deviation

PLAN = {
    'entropy (1: uniform)': 'allocation/entropy',
    'overlap of prompts': 'allocation/overlap',
    'cosine of prompts': 'allocation/prompt_cosine',
    'information on parts': 'allocation/part_information',
}


def write_report(rows: list[dict], out: Path) -> None:
    """``accuracy.md``, ``plans.md`` and ``allocation.png``."""
    seeds = next(iter(rows[0]['metrics'].values()))
    keys = ('combined', 'global', 'local', 'GL-MCM AUROC')
    columns = {key: COLUMNS[key] for key in keys}
    (out / 'accuracy.md').write_text(table(rows, seeds, LEARNING_RATES, columns))
    (out / 'plans.md').write_text(table(rows, seeds, LEARNING_RATES, PLAN, percent=False))
    _write_plot(rows, out / 'allocation.png')


def _write_plot(rows: list[dict], file: Path) -> None:
    """For each dataset: accuracy of the local branch against how decided the plan is."""
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(row['dataset'] for row in rows))
    figure = Figure(figsize=(8 * len(datasets), 6), layout='constrained')
    for axes, dataset in zip(figure.subplots(1, len(datasets), squeeze=False)[0], datasets):
        for row in (row for row in rows if row['dataset'] == dataset):
            x = mean_and_deviation(row['metrics']['allocation/overlap'])
            y = mean_and_deviation(row['metrics'][COLUMNS['local']])
            axes.errorbar(x[0], y[0], xerr=x[1], yerr=y[1], marker='o', capsize=2)
            axes.annotate(
                row['variant'], (x[0], y[0]), xytext=(4, 4), textcoords='offset points', size=8
            )
        axes.set(
            xlabel='overlap of prompts (1: all share all patches)',
            ylabel='top-1 of the local branch, %',
            title=dataset,
        )
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)

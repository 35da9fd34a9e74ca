"""Tables and plots of allocation_study.py."""

from pathlib import Path

from _compare_report import COLUMNS, draw_numbered, table
from _settings_plot import write_settings_plot
from _tuned_runs import LEARNING_RATES

PLAN = {
    'entropy (1: uniform)': 'allocation/entropy',
    'overlap of prompts': 'allocation/overlap',
    'cosine of prompts': 'allocation/prompt_cosine',
    'information on parts': 'allocation/part_information',
}


def write_report(rows: list[dict], out: Path) -> None:
    """``accuracy.md``, ``plans.md``, ``allocation.png`` and ``allocation_settings.png``."""
    seeds = next(iter(rows[0]['metrics'].values()))
    keys = ('combined', 'global', 'local', 'GL-MCM AUROC')
    columns = {key: COLUMNS[key] for key in keys}
    (out / 'accuracy.md').write_text(table(rows, seeds, LEARNING_RATES, columns))
    (out / 'plans.md').write_text(table(rows, seeds, LEARNING_RATES, PLAN, percent=False))
    _write_plot(rows, out / 'allocation.png')
    write_settings_plot(rows, out / 'allocation_settings.png')


def _write_plot(rows: list[dict], file: Path) -> None:
    """For each dataset: accuracy of the local branch against how decided the plan is."""
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(row['dataset'] for row in rows))
    figure = Figure(figsize=(11, 7 * len(datasets)), layout='constrained')
    for axes, dataset in zip(figure.subplots(len(datasets), squeeze=False)[:, 0], datasets):
        mine = [row for row in rows if row['dataset'] == dataset]
        draw_numbered(
            axes,
            [row['variant'] for row in mine],
            [row['metrics']['allocation/overlap'] for row in mine],
            [row['metrics'][COLUMNS['local']] for row in mine],
        )
        axes.set(
            xlabel='overlap of prompts (1: all share all patches)',
            ylabel='top-1 of the local branch, %',
            title=dataset,
        )
    figure.savefig(file, dpi=110)

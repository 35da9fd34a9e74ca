"""Tables and plots of allocation_study.py."""

from pathlib import Path

import numpy as np
from compare_report import COLUMNS, draw_numbered, table
from settings_plot import PLANS, settings_of, write_settings_plot
from tuned_runs import LEARNING_RATES, mean_and_deviation

PLAN = {
    'entropy (1: uniform)': 'allocation/entropy',
    'overlap of prompts': 'allocation/overlap',
    'cosine of prompts': 'allocation/prompt_cosine',
    'information on parts': 'allocation/part_information',
    'spread of similarities': 'allocation/spread',
}


def write_report(rows: list[dict], out: Path) -> None:
    """``accuracy.md``, ``gains.md``, ``plans.md``, and two figures, ``allocation*.png``."""
    seeds = next(iter(rows[0]['metrics'].values()))
    keys = ('combined', 'global', 'local', 'GL-MCM AUROC')
    columns = {key: COLUMNS[key] for key in keys}
    (out / 'accuracy.md').write_text(table(rows, seeds, LEARNING_RATES, columns))
    (out / 'plans.md').write_text(table(rows, seeds, LEARNING_RATES, PLAN, percent=False))
    (out / 'gains.md').write_text(gains(rows))
    _write_plot(rows, out / 'allocation.png')
    write_settings_plot(rows, out / 'allocation_settings.png')


def gains(rows: list[dict]) -> str:
    """Markdown: differences, seed by seed: to a uniform plan, and to the first line."""
    text = ''
    for dataset in dict.fromkeys(row['dataset'] for row in rows):
        mine = [row for row in rows if row['dataset'] == dataset]
        known = [(row, settings_of(row)) for row in mine]
        even = [(row, _even_counterpart(settings, known)) for row, settings in known]
        text += _differences(f'{dataset}: OT minus uniform', [pair for pair in even if pair[1]])
        first = [(row, mine[0]) for row in mine[1:]]
        text += _differences(f'{dataset}: minus {mine[0]["variant"]}', first)
    return text


def _differences(title: str, pairs: list[tuple[dict, dict]]) -> str:
    text = f'| {title} | combined | local | seeds that gain |\n|---|---:|---:|---:|\n'
    for row, other in pairs:
        combined, local = (
            np.subtract(row['metrics'][COLUMNS[key]], other['metrics'][COLUMNS[key]])
            for key in ('combined', 'local')
        )
        cells = ['{:+.1f} ± {:.1f}'.format(*mean_and_deviation(d)) for d in (combined, local)]
        won = f'{(combined > 0).sum()} of {len(combined)}'
        text += f'| {row["variant"]} | {cells[0]} | {cells[1]} | {won} |\n'
    return text + '\n'


def _even_counterpart(settings: dict | None, known: list[tuple[dict, dict | None]]) -> dict | None:
    """The row with a uniform plan and the same other settings, of rows and their settings."""
    if settings is None or settings['plan'] != PLANS['OTAllocationLoss']:
        return None
    even = {**settings, 'plan': PLANS['UniformAllocationLoss'], 'epsilon': None, 'relative': False}
    return next((row for row, found in known if found == even), None)


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

"""A fair comparison: as many tries on validation images for every variant, then seeds."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sotglp_mm.demo.runs import DemoRun, run_all
from sotglp_mm.utils.tables import markdown_table

LEARNING_RATES = (0.03, 0.1, 0.3, 1.0)
"""What every variant is tuned over, with one seed, on validation images."""

EPOCHS = {'scenes': 20, 'digits': 30, 'eurosat': 20, 'caltech101': 5}
DRAWN = ('scenes', 'digits')
"""Sets that need no files; the others lie below ``$DATA``."""

LEARNING_RATE = 'optim_wrapper.optimizer.lr'
COLUMNS = {
    'combined': 'accuracy/known/top1',
    'global': 'accuracy_global/known/top1',
    'local': 'accuracy_local/known/top1',
    'MCM AUROC': 'ood/mcm_T1/unseen/auroc',
    'MCM FPR95': 'ood/mcm_T1/unseen/fpr95',
    'GL-MCM AUROC': 'ood/gl_mcm_T1/unseen/auroc',
    'GL-MCM FPR95': 'ood/gl_mcm_T1/unseen/fpr95',
}


class Variant(NamedTuple):
    """A line of a table."""

    name: str
    method: str  # stem of a config of configs/demo, or a baseline
    options: dict = {}  # dotted config keys and their values
    learns: bool = True


def parse_args(description: str, work_dir: str, seeds: list[int]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add('--work-dir', type=Path, default=Path(work_dir), help='of runs, tables and figures')
    add('--seeds', type=int, nargs='+', default=seeds, help='of shots, prompts and order')
    text = 'default: those of the demo; the others are looked for below $DATA'
    add('--datasets', nargs='+', default=list(DRAWN), choices=list(EPOCHS), help=text)
    add('--workers', type=int, default=2, help='runs at a time')
    add('--only', nargs='+', metavar='LINE', help='lines of the table, by name; default: all')
    return parser.parse_args()


def chosen(variants: list[Variant], only: Sequence[str] | None) -> list[Variant]:
    """Those that ``--only`` names.

    Raises:
        ValueError: A name is none of theirs.
    """
    names = [variant.name for variant in variants]
    unknown = sorted(set(only or ()) - set(names))
    if unknown:
        raise ValueError(f'--only {unknown[0]!r}: no such line; there are {names}')
    return [variant for variant in variants if variant.name in (only or names)]


def run(
    variants: list[Variant], datasets: list[str], seeds: list[int], root: Path, workers: int
) -> list[dict]:
    """Tune, then measure.

    Returns:
        list[dict]: For each dataset and variant ``dict(dataset, variant, method, options,
        learning_rate, tried, metrics)``: ``tried`` is the validation accuracy of each learning
        rate, ``metrics`` has a list of values, one a seed, for each key.
    """
    pairs = [(dataset, variant) for dataset in datasets for variant in variants]
    rates = {variant.name: LEARNING_RATES if variant.learns else () for variant in variants}
    tuning = [_run(*pair, seeds[0], 'val', r) for pair in pairs for r in rates[pair[1].name]]
    tries = iter(run_all(tuning, root, workers, 'tuning'))
    rows: list[dict] = []
    for dataset, variant in pairs:
        tried = {r: next(tries)['metrics']['accuracy/top1'] for r in rates[variant.name]}
        best = max(tried, key=lambda rate: tried[rate]) if tried else None
        about = dict(dataset=dataset, variant=variant.name, method=variant.method)
        rows.append(about | dict(options=variant.options, learning_rate=best, tried=tried))
    finals = [
        _run(*pair, seed, 'test', row['learning_rate'])
        for pair, row in zip(pairs, rows)
        for seed in seeds
    ]
    results = iter(run_all(finals, root, workers, 'testing'))
    for row in rows:
        of_seeds = [next(results)['metrics'] for _ in seeds]
        row['metrics'] = {key: [m[key] for m in of_seeds if key in m] for key in of_seeds[0]}
    return rows


def _run(dataset: str, variant: Variant, seed: int, split: str, rate: float | None) -> DemoRun:
    tuned = {} if rate is None else {LEARNING_RATE: rate}
    options = json.dumps({**variant.options, **tuned}, sort_keys=True)
    epochs = EPOCHS[dataset] if variant.learns else 0
    return DemoRun(dataset, variant.method, seed, split, epochs, options)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    series = pd.Series(values, dtype=float)
    return series.mean(), series.std() if len(series) > 1 else 0.0


def by_dataset(rows: list[dict]) -> dict[str, list[dict]]:
    return {
        name: [row for row in rows if row['dataset'] == name]
        for name in dict.fromkeys(row['dataset'] for row in rows)
    }


def table(rows: list[dict], columns: dict[str, str] = COLUMNS, digits: int = 1) -> str:
    """Markdown, a table for each dataset, with the columns that any of its lines has."""
    text = ''
    for dataset, mine in by_dataset(rows).items():
        there = {
            name: key for name, key in columns.items() if any(key in r['metrics'] for r in mine)
        }
        cells = [
            [
                row['variant'],
                *(show(row['metrics'].get(key), digits) for key in there.values()),
                str(row['learning_rate'] or ''),
            ]
            for row in mine
        ]
        text += f'\n{markdown_table([dataset, *there, "lr"], cells)}'
    return text


def caption(rows: list[dict]) -> str:
    """What the numbers of a table are."""
    seeds = len(next(iter(rows[0]['metrics'].values())))
    rates = sorted({rate for row in rows for rate in row['tried']})
    return (
        f'Mean ± standard deviation over {seeds} seeds, in percent; OOD scores with temperature '
        f'1. Learning rates out of {", ".join(map(str, rates))}, chosen for each line on '
        'validation images of the first seed.\n'
    )


def show(values: Sequence[float] | None, digits: int = 1, sign: str = '') -> str:
    """E.g. '71.2 ± 0.4'; '71.2' of one value, which has no deviation; '' of none."""
    if not values:
        return ''
    mean, deviation = mean_and_deviation(values)
    spread = f' ± {deviation:.{digits}f}' if len(values) > 1 else ''
    return f'{mean:{sign}.{digits}f}{spread}'


def draw_numbered(
    axes: Any, names: Sequence[str], x: Sequence[list[float]], y: Sequence[list[float]]
) -> None:
    """A number at each point, means of values, and the names in a list beside the axes.

    Names at the points would lie over each other, and leave the axes.
    """
    for number, (name, *values) in enumerate(zip(names, x, y), start=1):
        (x_mean, x_error), (y_mean, y_error) = map(mean_and_deviation, values)
        label, colour = f'{number}  {name}', f'C{number % 10}'
        axes.errorbar(x_mean, y_mean, y_error, x_error, 'o', color=colour, label=label, capsize=2)
        place = dict(xytext=(4, 4), textcoords='offset points', size=9)
        axes.annotate(str(number), (x_mean, y_mean), **place)
    axes.margins(0.08)
    axes.grid(alpha=0.3)
    axes.legend(loc='upper left', bbox_to_anchor=(1.01, 1), borderaxespad=0, fontsize=8)

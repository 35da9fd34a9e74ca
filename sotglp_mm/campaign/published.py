"""The published results, which the tables show beside those of a campaign."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..io.json_file import read_json

PUBLISHED = Path(__file__).with_name('published.json')


class Published(NamedTuple):
    """Tables with a row for each method; numbers are text, as they were printed."""

    few_shot: pd.DataFrame  # columns: datasets, mean
    sources: dict[str, list[str]]  # methods of ``few_shot`` by source
    shift: pd.DataFrame  # columns: the source dataset, the shifts, their mean
    shift_source: str
    ood: pd.DataFrame  # 'FPR95 / AUROC'; columns: sets, their mean
    ood_source: str


def read_published() -> Published:
    """The package's file."""
    content = read_json(PUBLISHED, parse_float=str)  # 72.60 is shown as it was printed
    rows, names = content['few_shot_top1'], content['datasets']
    blank = [None] * len(names)
    few_shot = {row['method']: [*(row['values'] or blank), row['mean']] for row in rows}
    sources: dict[str, list[str]] = {}
    for row in rows:
        sources.setdefault(row['source'], []).append(row['method'])
    shift, ood = content['domain_shift_top1'], content['ood_imagenet_fpr95_auroc']
    return Published(
        _table(few_shot, [*names, 'mean']),
        sources,
        *(_table(shift['rows'], shift['sets']), shift['source']),
        *(_table(ood['rows'], ood['sets']), ood['source']),
    )


def _table(rows: dict[str, list], columns: list[str]) -> pd.DataFrame:
    cells = {name: list(map(_cell, row)) for name, row in rows.items()}
    return pd.DataFrame.from_dict(cells, orient='index', columns=columns)


def _cell(value: Any) -> str:
    """'' for what was not found in print."""
    if isinstance(value, list):
        return ' / '.join('-' if each is None else str(each) for each in value)
    return '' if value is None else str(value)

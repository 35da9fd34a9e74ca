"""The file of published results, which the tables show beside those of a campaign."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..io.json_file import read_json

PUBLISHED = Path(__file__).with_name('published.json')


class Published(NamedTuple):
    """Tables with a row for each method; numbers are text, as they were printed."""

    few_shot: pd.DataFrame
    """Columns: datasets, mean."""
    sources: dict[str, list[str]]
    """Methods of ``few_shot`` by source."""
    shift: pd.DataFrame
    """Columns: the source dataset, the shifts, their mean."""
    shift_source: str
    ood: pd.DataFrame
    """'FPR95 / AUROC'; columns: sets, their mean."""
    ood_source: str


def read_published(file: str | Path = PUBLISHED) -> Published:
    """Published results.

    Raises:
        ValueError: They are not as the tables need them.
    """
    content = read_json(file, parse_float=str)  # 72.60 is shown as it was printed
    key = 'datasets'
    try:
        datasets = list(map(_text, content[key]))
        key = 'few_shot_top1'
        rows = content[key]
        names = [_text(row['method']) for row in rows]
        blank = [None] * len(datasets)
        values = [[*(row['values'] or blank), row['mean']] for row in rows]
        few_shot = _table(values, names, [*datasets, 'mean'], _number)
        sources: dict[str, list[str]] = {}
        for row in rows:
            sources.setdefault(_text(row['source']), []).append(row['method'])
        key = 'domain_shift_top1'
        shift, shift_source = _sets(content[key], _number)
        key = 'ood_imagenet_fpr95_auroc'
        ood, ood_source = _sets(content[key], _pair)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{file}: {key!r} cannot be shown ({type(error).__name__}: {error}). Compare it with '
            f'{PUBLISHED}, or leave --published out'
        ) from error
    return Published(few_shot, sources, shift, shift_source, ood, ood_source)


def _sets(table: dict, cell: Any) -> tuple[pd.DataFrame, str]:
    names, rows = list(map(_text, table['sets'])), table['rows']
    return _table(list(rows.values()), list(rows), names, cell), _text(table['source'])


def _table(rows: list, index: list[str], columns: list[str], cell: Any) -> pd.DataFrame:
    if len(columns) < 2:
        raise ValueError(f'it has the columns {columns}, expected several and their mean last')
    for name, row in zip(index, rows):
        if len(row) != len(columns):
            raise ValueError(f'{name} has {len(row)} values, expected {len(columns)}')
    return pd.DataFrame([list(map(cell, row)) for row in rows], index, columns)


def _number(value: Any) -> str:
    if value is None:  # was not found in print
        return ''
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f'{value!r} is no number')
    float(value)
    return str(value)


def _pair(value: Any) -> str:
    if value is None:
        return ''
    fpr95, auroc = map(_number, value)
    return f'{fpr95 or "-"} / {auroc or "-"}'


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is no text')
    return value

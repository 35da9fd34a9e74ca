"""The published results, which the tables show beside those of a campaign."""

from pathlib import Path
from typing import Any, NamedTuple

from ..io.json_file import read_json

PUBLISHED = Path(__file__).with_name('published.json')


class Published(NamedTuple):
    """A table with a row for each method; cells are text, as they were printed."""

    columns: list[str]  # sets, and their mean
    rows: list[list[str]]  # method, a cell for each column; '' for what was not found in print
    source: str


def read_published() -> dict[str, Published]:
    """The tables of the package's file, ``few_shot``, ``shift`` and ``ood``, by name."""
    content = read_json(PUBLISHED, parse_float=str)  # 72.60 is shown as it was printed
    names, few_shot = content['datasets'], content['few_shot_top1']
    blank = [None] * len(names)
    cells = {row['method']: [*(row['values'] or blank), row['mean']] for row in few_shot}
    methods: dict[str, list[str]] = {}
    for row in few_shot:
        methods.setdefault(row['source'], []).append(row['method'])
    source = '; '.join(f'{", ".join(of_it)}: {where}' for where, of_it in methods.items())
    tables = {'few_shot': Published([*names, 'mean'], _rows(cells), source)}
    for name, key in (('shift', 'domain_shift_top1'), ('ood', 'ood_imagenet_fpr95_auroc')):
        table = content[key]
        tables[name] = Published(table['sets'], _rows(table['rows']), table['source'])
    return tables


def _rows(cells: dict[str, list]) -> list[list[str]]:
    return [[method, *map(_text, row)] for method, row in cells.items()]


def _text(cell: Any) -> str:
    if isinstance(cell, list):  # FPR95 and AUROC
        return ' / '.join('-' if value is None else str(value) for value in cell)
    return '' if cell is None else str(cell)

"""The file of published results, which the tables show beside those of a campaign."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..io.json_file import read_json


def read_published(file: Path) -> dict:
    """Published results; numbers stay text: 72.60 is shown as it was printed.

    Raises:
        ValueError: They are not as the tables need them.
    """
    published = read_json(file, parse_float=str)
    if not isinstance(published, dict):
        raise ValueError(f'{file} holds a {type(published).__name__}, expected an object')
    for key, (fits, expected) in _parts(published.get('datasets')).items():
        if not fits(published.get(key)):
            found = repr(published[key])[:60] if key in published else 'nothing'
            raise ValueError(
                f'{file}: {key!r} is {found}, expected {expected}. Compare it with '
                'sotglp_mm/campaign/published.json, or leave --published out'
            )
    return published


def _parts(datasets: Any) -> dict[str, tuple[Callable[[Any], bool], str]]:
    """By key: what it must be, and how that is said."""
    count = len(datasets) if isinstance(datasets, list) else 0
    rows = f'a list of objects with method, values (null, or {count} numbers), mean and source'
    table = 'an object with sets (names), source, and in rows as many {} a method'
    return {
        'datasets': (_are_names, 'a list of names'),
        'few_shot_top1': (lambda value: _are_rows(value, count), rows),
        'domain_shift_top1': (lambda v: _is_table(v, _is_number), table.format('numbers')),
        'ood_imagenet_fpr95_auroc': (
            lambda value: _is_table(value, _is_pair),
            table.format('pairs (FPR95, AUROC; or null)'),
        ),
    }


def _are_rows(value: Any, count: int) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, dict)
        and all(isinstance(row.get(key), str) for key in ('method', 'source'))
        and 'values' in row
        and (row['values'] is None or _are(row['values'], count, _is_number))
        and 'mean' in row
        and _is_number(row['mean'])
        for row in value
    )


def _is_table(value: Any, is_cell: Callable[[Any], bool]) -> bool:
    return (
        isinstance(value, dict)
        and _are_names(value.get('sets'))
        and len(value['sets']) > 1  # the last is the mean of others
        and isinstance(value.get('source'), str)
        and isinstance(value.get('rows'), dict)
        and all(_are(cells, len(value['sets']), is_cell) for cells in value['rows'].values())
    )


def _are(values: Any, count: int, is_one: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and len(values) == count and all(map(is_one, values))


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_number(value: Any) -> bool:
    # with a point, it is text by now; null: was not found in print
    return value is None or (isinstance(value, (int, float, str)) and not isinstance(value, bool))


def _is_pair(value: Any) -> bool:
    return value is None or _are(value, 2, _is_number)

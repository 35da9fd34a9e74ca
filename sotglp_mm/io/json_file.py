"""Reading a JSON file, or saying which file is none; and comparing what two hold."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def read_json(
    path: str | Path, what: str = '', parse_float: Callable[[str], Any] | None = None
) -> Any:
    """The content of a file.

    Args:
        path: An existing file.
        what: What it is called in a message, e.g. 'split file'.
        parse_float: What makes a value of a number with a point. None: ``float``.

    Raises:
        ValueError: It is not JSON in UTF-8.
    """
    name = f'{what} {path}'.strip()
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'), parse_float=parse_float)
    except RecursionError as error:
        raise ValueError(f'{name} cannot be read: its lists are nested too deeply') from error
    except ValueError as error:  # also what is not UTF-8, and numbers of thousands of digits
        raise ValueError(f'{name} is not JSON: {error}') from error


def first_difference(pinned: Any, found: Any, key: str = '') -> tuple[str, str, str] | None:
    """Where two plain values differ first: key, value before, value now; None if nowhere."""
    if isinstance(pinned, dict) and isinstance(found, dict):
        for name in [*pinned, *(name for name in found if name not in pinned)]:
            inner = f'{key}.{name}' if key else str(name)
            if name not in pinned or name not in found:
                return inner, _shown(pinned, name), _shown(found, name)
            difference = first_difference(pinned[name], found[name], inner)
            if difference:
                return difference
        return None
    if isinstance(pinned, list) and isinstance(found, list):
        for index, (before, now) in enumerate(zip(pinned, found)):
            difference = first_difference(before, now, f'{key}[{index}]')
            if difference:
                return difference
        if len(pinned) != len(found):
            return key, f'of length {len(pinned)}', f'of length {len(found)}'
        return None
    return None if pinned == found else (key, repr(pinned), repr(found))


def _shown(mapping: dict, name: str) -> str:
    return repr(mapping[name]) if name in mapping else 'absent'


def as_json(value: Any, default: Callable[[Any], Any] = str) -> Any:
    """As JSON gives it back: tuples are lists, and of what JSON does not know, ``default``."""
    return json.loads(json.dumps(value, default=default))

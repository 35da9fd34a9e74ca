"""Reading a JSON file, or saying which file is none; and comparing what two hold."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def read_json(
    path: str | Path, what: str = '', parse_float: Callable[[str], Any] | None = None
) -> Any:
    """The content of an existing file; ``what`` it is called in a message, e.g. 'split file'.

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


def read_record(path: str | Path, keys: Mapping[str, type], advice: str, what: str = '') -> dict:
    """The object in a file, with values of these types; there may be more.

    Raises:
        ValueError: It is something else. The message ends with ``advice``.
    """
    name = f'{what} {path}'.strip()
    try:
        content = read_json(path, what)
        if not isinstance(content, dict):
            raise ValueError(f'{name} holds a {type(content).__name__}, expected an object')
        for key, kind in keys.items():
            # True is an int to Python, and no number of shots
            if not isinstance(content.get(key), kind) or isinstance(content[key], bool):
                found = repr(content[key])[:60] if key in content else 'missing'
                raise ValueError(f'{name}: {key!r} is {found}, expected {kind.__name__}')
    except ValueError as error:
        raise ValueError(f'{error}; {advice}') from error
    return content


def flat(value: Any, key: str = '') -> dict[str, Any]:
    """Values by dotted key; an empty dict or list is a value, too."""
    if not isinstance(value, dict | list) or not value:
        return {key: value}
    found: dict[str, Any] = {}
    for name, item in value.items() if isinstance(value, dict) else enumerate(value):
        found |= flat(item, f'{key}.{name}' if key else str(name))
    return found


def differences(before: Any, now: Any, key: str = '') -> list[tuple[str, str, str]]:
    """Where two plain values differ: dotted key, value before, value now, or 'absent'."""
    if before == now:
        return []
    one, other = flat(before, key), flat(now, key)
    found = []
    for name in dict.fromkeys([*one, *other]):
        if name not in one or name not in other or one[name] != other[name]:
            first, second = (
                repr(each[name]) if name in each else 'absent' for each in (one, other)
            )
            found.append((name, first, second))
    return found


def as_json(value: Any, default: Callable[[Any], Any] = str) -> Any:
    """As JSON gives it back: tuples are lists, and of what JSON does not know, ``default``."""
    return json.loads(json.dumps(value, default=default))

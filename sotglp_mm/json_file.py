"""Reading a JSON file, or saying which file is none."""

import json
from pathlib import Path
from typing import Any


def read_json(path: str | Path, what: str = '') -> Any:
    """The content of a file.

    Args:
        path: An existing file.
        what: What it is called in a message, e.g. 'split file'.

    Raises:
        ValueError: It is not JSON in UTF-8.
    """
    name = f'{what} {path}'.strip()
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except RecursionError as error:
        raise ValueError(f'{name} cannot be read: its lists are nested too deeply') from error
    except ValueError as error:  # also what is not UTF-8, and numbers of thousands of digits
        raise ValueError(f'{name} is not JSON: {error}') from error

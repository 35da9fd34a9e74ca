"""Reading a text file of one entry a line, or saying which file is none."""

from pathlib import Path


def read_lines(path: str | Path) -> list[str]:
    """The lines that are not blank, without blanks at their ends.

    A line ends where an editor ends it: ``str.splitlines`` breaks at form feeds and U+2028, too.
    A byte order mark, which some editors write, is no part of the first line.

    Raises:
        ValueError: It is not text in UTF-8.
    """
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not a text file: {error}') from error
    return [line.strip() for line in text.split('\n') if line.strip()]

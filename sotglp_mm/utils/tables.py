"""Tables for the terminal and for Markdown, and text that any terminal can show."""

import io
import sys
from collections.abc import Iterable, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

NO_LIMIT = 10_000


def printable(text: str) -> str:
    r"""Text with escapes for what a terminal cannot show, e.g. ``\udcff`` for a byte of a file
    name that is not UTF-8, and for control characters."""
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


def format_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None
) -> str:
    """Aligned columns; columns of numbers are aligned to the right.

    Args:
        head: Names of the columns.
        rows: A cell for each column.
        width: Characters of a line, at most; longer cells go on in the next line. None: no limit.
    """
    rows = list(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, cells in zip(head, zip(*rows) if rows else [()] * len(head)):
        table.add_column(Text(name), justify=_justify(cells), overflow='fold')
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    stream = io.StringIO()
    Console(file=stream, width=width or NO_LIMIT, color_system=None).print(table)
    return '\n'.join(line.rstrip() for line in stream.getvalue().splitlines())


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as wide as the terminal; into a file or a pipe, as wide as its cells."""
    width = Console(file=sys.stdout).width if sys.stdout.isatty() else None
    print(format_table(head, rows, width), flush=True)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns of numbers are aligned to the right."""
    rows = [[printable(cell).replace('|', r'\|') for cell in row] for row in rows]
    columns = zip(*rows) if rows else [()] * len(head)
    rules = ['--:' if _justify(cells) == 'right' else '---' for cells in columns]
    return ''.join(f'| {" | ".join(line)} |\n' for line in [list(head), rules, *rows])


def _justify(cells: Sequence[str]) -> Literal['left', 'right']:
    filled = [cell.lstrip('-+') for cell in cells if cell.strip('- ')]
    return 'right' if filled and all(cell[:1].isdigit() for cell in filled) else 'left'

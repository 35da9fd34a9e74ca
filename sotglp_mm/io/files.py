"""Writing a file so that its name never stands for half of it, and reading its lines."""

import os
import secrets
from pathlib import Path

TEMPORARY = '.part'
"""Suffix of a file that is being written. What a killed process leaves may be deleted."""

ADVICE = 'Make room, or choose another --work-dir, and continue with --resume'


def write_atomically(path: str | Path, data: bytes | str, advice: str = ADVICE) -> None:
    """Write a file, and its folder, completely or not at all; text is written as UTF-8.

    The data goes to a temporary file in the same folder, whose name no other process uses, and
    takes the final name once it is on the disk. Until then an older file stays as it was.

    Raises:
        OSError: The data could not be written (disk full, quota, rights); ends with ``advice``.
    """
    path = Path(path)
    content = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}')
    try:
        with part.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f'{path} ({len(content) / 1e6:.3g} MB) could not be written: {error.strerror}. An '
            f'older file of that name is unchanged. {advice}',
        ) from error


def check_writable(path: str | Path, flag: str) -> None:
    """Make a file's folder, and raise ``OSError`` if it cannot be written to, before the work."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f'{flag} {path} cannot be written: {error}') from error
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise OSError(f'{flag} {path} cannot be written; choose another file')


def read_lines(path: str | Path) -> list[str]:
    """The lines that are not blank, without blanks at their ends or a byte order mark.

    A line ends where an editor ends it: ``str.splitlines`` breaks at form feeds and U+2028, too.

    Raises:
        ValueError: It is not text in UTF-8.
    """
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not a text file: {error}') from error
    return [line.strip() for line in text.split('\n') if line.strip()]

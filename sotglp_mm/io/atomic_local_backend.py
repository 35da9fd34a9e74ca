"""Files that are whole or not there."""

import os
from pathlib import Path
from typing import BinaryIO

from mmengine.fileio import LocalBackend, register_backend

TEMPORARY = '.part'
"""Ending of a file that is being written; what a killed process leaves may be deleted."""


ADVICE = 'Make room, or choose another --work-dir, and go on with --resume'


def write_whole(data: bytes, path: str | Path, advice: str = ADVICE) -> None:
    """Write a file so that its name never stands for half of it.

    The bytes go into a neighbour, are on the disk before it takes the name, and until then an
    older file of that name stays as it was.

    Args:
        data: All that the file is to hold.
        path: Of the file.
        advice: What to do where that fails.

    Raises:
        OSError: They could not be written (full disk, quota, rights); nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + TEMPORARY)
    try:
        with open(part, 'wb') as file:
            _write(file, data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f'{path} ({len(data) / 1e6:.3g} MB) could not be written: {error.strerror}. What was '
            f'there before is untouched. {advice}',
        ) from error


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


@register_backend('atomic_local', force=True)
class AtomicLocalBackend(LocalBackend):
    """MMEngine's files on this machine, written by :func:`write_whole`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes."""
        write_whole(obj, filepath)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text."""
        write_whole(obj.encode(encoding), filepath)

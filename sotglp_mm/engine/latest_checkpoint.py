"""Which checkpoint does a run go on from?"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from ..io.checkpoint_file import BrokenCheckpoint, check_resumable

POINTER = 'last_checkpoint'
NAME = re.compile(r'(epoch|iter)_(\d+)\.pth')


class LatestCheckpoint(NamedTuple):
    """What :func:`latest_checkpoint` found."""

    path: Path | None
    """The checkpoint; None if there is no whole one."""

    skipped: list[str]
    """What is wrong with those that would have come before it, a sentence each."""


def latest_checkpoint(work_dir: str | Path, schedulers: int | None = None) -> LatestCheckpoint:
    """The newest checkpoint of a work dir that is whole.

    First comes the one that MMEngine's note ``last_checkpoint`` names, also if the folder has
    been moved since; then the others there and in the work dir, the latest first. Broken ones are
    skipped.

    Args:
        work_dir: Of a run.
        schedulers: As in :func:`check_resumable`.

    Raises:
        ValueError: A whole one is not of this config: a run that began anew would replace it.
        OSError: The system does not give one.
    """
    work_dir = Path(work_dir)
    skipped: list[str] = []
    for path in _candidates(work_dir, skipped):
        try:
            check_resumable(path, schedulers)
        except (BrokenCheckpoint, FileNotFoundError) as error:  # absent: another process's doing
            skipped.append(str(error))
        except ValueError as error:
            raise ValueError(f'{error} A new run needs another work dir.') from error
        else:
            return LatestCheckpoint(path, skipped)
    return LatestCheckpoint(None, skipped)


def _candidates(work_dir: Path, skipped: list[str]) -> list[Path]:
    named = _named_by_note(work_dir, skipped)
    folders = {work_dir, *(file.parent for file in named)}  # CheckpointHook's out_dir is another
    found = [(file, NAME.fullmatch(file.name)) for path in folders for file in path.glob('*.pth')]
    dated = [(file.stat().st_mtime, int(name[2]), file) for file, name in found if name]
    others = [file for *_, file in sorted(dated, reverse=True)]
    return [*named, *(file for file in others if file not in named)]


def _named_by_note(work_dir: Path, skipped: list[str]) -> list[Path]:
    note = work_dir / POINTER
    if not note.is_file():
        return []
    written = note.read_text(encoding='utf-8', errors='replace').strip()
    named = [work_dir / Path(written).name, Path(written)]
    # a name that can be none is no error for os.path
    named = [file for file in named if file.suffix == '.pth' and os.path.isfile(file)]
    if not named:
        skipped.append(f'{note} names {written[:200]!r}, and there is no such checkpoint')
    return named[:1]

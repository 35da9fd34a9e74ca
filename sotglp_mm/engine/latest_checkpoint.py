"""Which checkpoint does a run go on from?"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from ..checkpoint_file import check_resumable

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
    been moved since; then the folder's others, the latest first.

    Args:
        work_dir: Of a run.
        schedulers: As in :func:`check_resumable`.
    """
    work_dir = Path(work_dir)
    skipped: list[str] = []
    for path in _candidates(work_dir, skipped):
        try:
            check_resumable(path, schedulers)
        except (ValueError, OSError) as error:
            skipped.append(str(error))
        else:
            return LatestCheckpoint(path, skipped)
    return LatestCheckpoint(None, skipped)


def _candidates(work_dir: Path, skipped: list[str]) -> list[Path]:
    found = [(file, NAME.fullmatch(file.name)) for file in work_dir.glob('*.pth')]
    dated = [(file.stat().st_mtime, int(name[2]), file) for file, name in found if name]
    files = [file for *_, file in sorted(dated, reverse=True)]
    pointer = work_dir / POINTER
    if not pointer.is_file():
        return files
    written = pointer.read_text(encoding='utf-8', errors='replace').strip()
    named = [work_dir / Path(written).name, Path(written)]
    # a name that can be none is no error for os.path
    named = [file for file in named if file.suffix == '.pth' and os.path.isfile(file)]
    if not named:
        skipped.append(f'{pointer} names {written[:200]!r}, and there is no such checkpoint')
        return files
    return [named[0], *(file for file in files if file != named[0])]

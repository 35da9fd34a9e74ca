"""Small files of a feature cache, whole or not there, and the room that its large ones take."""

import math
from pathlib import Path

from ..io.files import write_atomically
from .format import array_specs, open_arrays


def write_text(file: Path, text: str) -> None:
    """See :func:`write_atomically`."""
    write_atomically(file, text, 'Make room, and run the same command again')


def bytes_missing(out: Path, splits: dict) -> int:
    """What is still to be written."""
    missing = 0
    for name, about in splits.items():
        specs = array_specs(about).values()
        each = sum(math.prod(shape[2:]) * dtype.itemsize for shape, dtype in specs)
        pairs = about['views'] * about['num_images']
        if (out / name / 'done.npy').exists():
            pairs -= int(open_arrays(out / name, about).done.sum())
        missing += pairs * each
    return missing


def bytes_unreserved(out: Path, splits: dict) -> int:
    """What the arrays will take of the room that is free."""
    unreserved = 0
    for name, about in splits.items():
        for array, (shape, dtype) in array_specs(about).items():
            size = math.prod(shape) * dtype.itemsize
            unreserved += max(0, size - _bytes_held(out / name / f'{array}.npy'))
    return unreserved


def _bytes_held(file: Path) -> int:
    """By an array; or by half of one, which the array will replace."""
    for each in (file, file.with_suffix('.part')):
        if each.exists():
            return getattr(each.stat(), 'st_blocks', 0) * 512  # that unit, whatever the disk's
    return 0

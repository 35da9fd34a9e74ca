"""Checksums of stored features: that they are as they were written, and of this cache.

A checksum goes on from the cache's own number, so the arrays of another cache of the same shape do
not fit, even where their checksums came along.
"""

import json
import zlib
from pathlib import Path

import numpy as np

from .format import SplitArrays, read_manifest


def cache_number(folder: str | Path, split: str) -> int:
    """What tells the features of this split from those of other towers, data and settings."""
    manifest = read_manifest(folder)
    pinned = [manifest['backbone'], manifest['data_preprocessor'], manifest['splits'][split]]
    return zlib.crc32(json.dumps(pinned, sort_keys=True).encode())


def row_checksums(patches: np.ndarray, image: np.ndarray, number: int) -> tuple[int, int]:
    """crc32 of one view of one image.

    Args:
        patches: float16 (P, W).
        image: float16 (W,).
        number: Of :func:`cache_number`.
    """
    first, second = (zlib.crc32(part.tobytes(), number) for part in (patches, image))
    return first, second


def damaged_array(arrays: SplitArrays, view: int, index: int, number: int) -> str | None:
    """Which array of a row is not as it was written; None if all is well. Reads this row alone."""
    found = row_checksums(arrays.patches[view, index], arrays.image[view, index], number)
    expected = arrays.crc[view, index].tolist()
    wrong = [
        name for name, a, b in zip(('patches', 'image'), found, expected, strict=True) if a != b
    ]
    return wrong[0] if wrong else None

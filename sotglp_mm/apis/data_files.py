"""Read every image: can it be decoded, and is there another with the same bytes?"""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from PIL import Image
from tqdm import tqdm

WORKERS = min(8, os.cpu_count() or 1)
BATCH = 4096
"""Files handed to the threads at once; ImageNet's 1.3 million at once would fill the memory."""

TAIL = 4096
"""Bytes at the end of a file, which tell most images of one size apart; their beginnings do not:
there lie tables that images of one camera share."""


def undecodable(files: list[Path], progress: str) -> dict[Path, str]:
    """Files that Pillow cannot decode to the end, and why."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of odd metadata; pixels are what counts
        return {file: why for file, why in _each(_why_undecodable, files, progress) if why}


def _why_undecodable(file: Path) -> str:
    try:
        with Image.open(file) as image:
            image.convert('RGB')
    except Exception as error:  # decoders raise whatever they like
        return f'{type(error).__name__}: {error}'
    return ''


def duplicates(files: list[Path], progress: str) -> list[list[Path]]:
    """Groups of files with identical bytes.

    Sizes are compared first, then ends of files, then sha256, so most files are never read whole.
    """
    groups = [files]
    for key in (_size, _tail, _sha256):
        candidates = [file for group in groups for file in group]
        keys = dict(_each(key, candidates, f'{progress}, {key.__name__.strip("_")}'))
        groups = [same for group in groups for same in _alike(group, keys)]
    return groups


def _alike(group: list[Path], keys: dict[Path, object]) -> list[list[Path]]:
    by_key: dict[object, list[Path]] = {}
    for file in group:
        by_key.setdefault(keys[file], []).append(file)
    return [same for same in by_key.values() if len(same) > 1]


def _size(file: Path) -> int:
    return file.stat().st_size


def _tail(file: Path) -> bytes:
    with file.open('rb') as opened:
        opened.seek(-min(TAIL, _size(file)), os.SEEK_END)
        return hashlib.sha256(opened.read()).digest()


def _sha256(file: Path) -> bytes:
    digest = hashlib.sha256()
    with file.open('rb') as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.digest()


def _each(function: Callable, files: list[Path], progress: str) -> Iterator[tuple[Path, object]]:
    """Every file with what the function says of it, in order."""
    with (
        ThreadPoolExecutor(WORKERS) as threads,
        tqdm(total=len(files), desc=progress, unit='file', leave=False, disable=None) as bar,
    ):
        for batch in _batches(files):
            for file, said in zip(batch, threads.map(function, batch)):
                bar.update()
                yield file, said


def _batches(files: Iterable[Path]) -> Iterator[list[Path]]:
    rest = iter(files)
    while batch := list(islice(rest, BATCH)):
        yield batch

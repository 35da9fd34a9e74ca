"""Reading every image: can it be decoded, and is there another with the same bytes?"""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

from PIL import Image
from tqdm import tqdm

WORKERS = min(8, os.cpu_count() or 1)


def undecodable(files: Sequence[Path], progress: str) -> dict[Path, str]:
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


def duplicates(files: Sequence[Path], progress: str) -> list[list[Path]]:
    """Groups of files with identical bytes; only files of equal size are read."""
    groups = _alike(files, {file: file.stat().st_size for file in files})
    candidates = [file for group in groups for file in group]
    digests = dict(_each(_sha256, candidates, progress))
    return [same for group in groups for same in _alike(group, digests)]


def _alike(group: Sequence[Path], keys: dict) -> list[list[Path]]:
    by_key: dict[object, list[Path]] = {}
    for file in group:
        by_key.setdefault(keys[file], []).append(file)
    return [same for same in by_key.values() if len(same) > 1]


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open('rb') as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _each(
    function: Callable[[Path], str], files: Sequence[Path], progress: str
) -> Iterator[tuple[Path, str]]:
    """Every file with the function's value, in order."""
    with ThreadPool(WORKERS) as threads:
        values = threads.imap(function, files, chunksize=64)
        bar = tqdm(values, progress, len(files), unit='file', leave=False, disable=None)
        yield from zip(files, bar)

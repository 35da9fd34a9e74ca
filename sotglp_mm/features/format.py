"""A folder of stored tower outputs: what lies in it, and what its manifest pins.

::

    manifest.json         what the features were made from
    train/, test/, ...    one folder a split:
        patches.npy       (V, N, P, W) float16, V views of N images
        image.npy         (V, N, W) float16
        crc.npy           (V, N, 2) uint32, checksums of patches and image
        done.npy          (V, N) bool: which of them are written
        samples.json      [[identity, label, what the file is known by or null], ...], N rows

Symbols as in :mod:`sotglp_mm.structures`. Arrays are memory maps; nothing is unpickled.
"""

import errno
import hashlib
import json
import math
import os
import shutil
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..datasets.data_identity import plain, samples_digest
from ..io.json_file import differences, read_json

FORMAT = 3  # version of this layout
MANIFEST = 'manifest.json'
MADE = 'made'  # entry of the manifest that is for people (command, versions), never compared
PINNED = ('format', 'backbone', 'data_preprocessor', 'splits')  # the same on every use


class SplitArrays(NamedTuple):
    """The memory maps of one split."""

    patches: np.memmap  # (V, N, P, W) float16
    image: np.memmap  # (V, N, W) float16
    crc: np.memmap  # (V, N, 2) uint32, see row_checksums
    done: np.memmap  # (V, N) bool


def array_specs(about: dict) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of each field of :class:`SplitArrays`, from a split's manifest entry."""
    views, images = about['views'], about['num_images']
    half = np.dtype(np.float16)
    return {
        'patches': ((views, images, about['num_patches'], about['width']), half),
        'image': ((views, images, about['width']), half),
        'crc': ((views, images, 2), np.dtype(np.uint32)),
        'done': ((views, images), np.dtype(bool)),
    }


def create_arrays(folder: Path, about: dict) -> None:
    """Make the files of a split that do not exist yet, all zero; ``done`` last.

    ``OSError``: the disk has no room for one; nothing of that one is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (shape, dtype) in array_specs(about).items():
        file = folder / f'{name}.npy'
        if not file.exists():
            _create_array(file, shape, dtype)


def total_bytes(splits: dict) -> int:
    """What the arrays of all splits take on the disk."""
    specs = [spec for about in splits.values() for spec in array_specs(about).values()]
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in specs)


def is_complete(folder: Path) -> bool:
    """Whether a folder has all of its features; False also where there are none."""
    if not (folder / MANIFEST).exists():
        return False
    splits = read_manifest(folder)['splits']
    return all(
        (folder / name / 'done.npy').exists() and open_arrays(folder / name, about).done.all()
        for name, about in splits.items()
    )


def _create_array(file: Path, shape: tuple, dtype: np.dtype) -> None:
    # a file of this name is complete, whenever the process was killed
    part = file.with_suffix('.part')
    try:
        np.lib.format.open_memmap(part, mode='w+', dtype=dtype, shape=shape).flush()
        _reserve(part)
        os.replace(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f'feature cache: {file} could not be made, it needs '
            f'{math.prod(shape) * dtype.itemsize} bytes: {error.strerror}. Make room, take '
            'another disk, or remove the folder and take fewer views; the same command again '
            'goes on where it stopped',
        ) from error


def _reserve(file: Path) -> None:
    """Take the room of a sparse file: on a full disk, writing to its map ends in SIGBUS."""
    size = file.stat().st_size
    if hasattr(os, 'posix_fallocate'):
        with file.open('r+b') as stream:
            try:
                return os.posix_fallocate(stream.fileno(), 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
    # macOS, or a filesystem without it
    if shutil.disk_usage(file.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_arrays(folder: Path, about: dict, mode: str = 'r') -> SplitArrays:
    """Open the memory maps of a split, whose entry of the manifest is ``about``.

    ``FileNotFoundError``: one is missing. ``ValueError``: it is damaged, or of another shape.
    """
    specs = array_specs(about).items()
    return SplitArrays(
        **{name: _open_array(folder / f'{name}.npy', *spec, mode) for name, spec in specs}
    )


def _open_array(file: Path, shape: tuple, dtype: np.dtype, mode: str) -> np.memmap:
    advice = 'Delete the folder of this split, and run sotglp extract again.'
    if not file.is_file():
        raise FileNotFoundError(f'feature cache: {file} is missing. {advice}')
    try:
        # not np.load: this reads nothing but .npy, and no pickles
        array = np.lib.format.open_memmap(file, mode=mode)
    except Exception as error:  # numpy raises what its tokenizer raises, and more
        raise ValueError(
            f'feature cache: {file} is damaged or cut short ({error}); expected '
            f'{dtype} of shape {shape}. {advice}'
        ) from error
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f'feature cache: {file} holds {array.dtype} of shape {array.shape}, but the manifest '
            f'says {dtype} of shape {shape}. {advice}'
        )
    return array


def read_manifest(folder: str | Path) -> dict:
    """The manifest of a cache, or an error if it is missing, damaged or of another layout."""
    file = Path(folder).expanduser() / MANIFEST
    if not file.is_file():
        raise FileNotFoundError(
            f'there is no feature cache in {file.parent} ({MANIFEST} is missing); make one with '
            f'sotglp extract CONFIG --out {file.parent}'
        )
    manifest = read_json(file)
    if not isinstance(manifest, dict) or 'format' not in manifest:
        raise ValueError(f'{file} is not the manifest of a feature cache. Give its folder.')
    if manifest['format'] != FORMAT:
        raise ValueError(
            f'{file} is of format {manifest["format"]!r}, this version reads {FORMAT}; extract '
            'the features anew into another folder'
        )
    if signed(manifest) != manifest:
        raise ValueError(
            f'{file} is damaged or was edited: its sha256 differs from what it says of itself. '
            'Restore it, or extract the features anew'
        )
    return manifest


def signed(manifest: dict) -> dict:
    """The manifest with the sha256 of its content, by which damage is known."""
    content = {key: value for key, value in manifest.items() if key != 'sha256'}
    text = json.dumps(content, sort_keys=True)
    return {**content, 'sha256': hashlib.sha256(text.encode()).hexdigest()}


def read_split(folder: str | Path, split: str) -> tuple[dict, list]:
    """A split's entry of the manifest, and its samples, which must be those that were pinned."""
    folder = Path(folder).expanduser()
    splits = read_manifest(folder)['splits']
    if split not in splits:
        raise ValueError(
            f'the feature cache {folder} has no split {split!r}; it has {", ".join(splits)}'
        )
    file = folder / split / 'samples.json'
    if not file.is_file():
        raise FileNotFoundError(f'feature cache: {file} is missing; extract the features anew')
    samples = read_json(file)
    if samples_digest(samples) != splits[split]['samples_sha256']:
        raise ValueError(
            f'{file} is not the list of images that {folder / MANIFEST} pins (its sha256 '
            'differs); restore the file, or extract the features anew'
        )
    return splits[split], samples


def check_pinned(folder: str | Path, key: str, pinned: Any, found: Any) -> None:
    """Raise ``ValueError`` if ``key`` of a cache's manifest differs from what this run has."""
    for where, before, now in differences(pinned, plain(found), key):
        made = read_manifest(folder)[MADE]
        raise ValueError(
            f'the feature cache {folder} was made from something else: {where} was {before}, and '
            f'is {now} now. Use the settings, weights and data it was made with '
            f'(clip={made["clip"]}, by `{made["command"]}`), or extract the features anew into '
            'another folder.'
        )


def cache_number(folder: Path) -> int:
    """What tells the features of a split's folder from those of other towers and data."""
    manifest = read_manifest(folder.parent)
    pinned = [manifest['backbone'], manifest['data_preprocessor'], manifest['splits'][folder.name]]
    return zlib.crc32(json.dumps(pinned, sort_keys=True).encode())


def row_checksums(patches: np.ndarray, image: np.ndarray, number: int) -> tuple[int, int]:
    """crc32 of one view of one image, float16 (P, W) and (W,), going on from :func:`cache_number`.

    So arrays of other features of the same shape do not fit, even with their own checksums.
    """
    return zlib.crc32(patches.tobytes(), number), zlib.crc32(image.tobytes(), number)


def damaged_array(arrays: SplitArrays, view: int, index: int, number: int) -> str | None:
    """Which array of a row is not as it was written; None if all is well. Reads this row alone."""
    found = row_checksums(arrays.patches[view, index], arrays.image[view, index], number)
    expected = arrays.crc[view, index].tolist()
    names = zip(('patches', 'image'), found, expected)
    return next((name for name, now, written in names if now != written), None)

"""The layout of a cache: what is pinned, and what is said of files that are not as they were."""

import errno
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sotglp_mm.features.format import (
    array_specs,
    create_arrays,
    open_arrays,
    read_manifest,
    read_split,
    total_bytes,
)

ABOUT = dict(views=2, num_images=3, num_patches=5, width=7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_arrays(tmp_path, ABOUT)
    return tmp_path


def test_arrays_are_written_and_read(folder: Path):
    arrays = open_arrays(folder, ABOUT, mode='r+')
    arrays.patches[1, 2] = 3
    arrays.done[1, 2] = True
    arrays.patches.flush()
    arrays.done.flush()
    create_arrays(folder, ABOUT)  # again: what is there stays
    again = open_arrays(folder, ABOUT)
    assert again.patches.shape == (2, 3, 5, 7)
    assert again.image.shape == (2, 3, 7)
    assert (again.patches.dtype, again.image.dtype) == (np.float16, np.float16)
    assert float(again.patches.sum()) == 3 * 5 * 7
    assert np.argwhere(again.done).tolist() == [[1, 2]]
    assert not list(folder.glob('*.part'))


def fails_with(number: int, at: int = 0):
    """An ``os.posix_fallocate`` that fails, after so many calls."""
    calls = []

    def fallocate(*args) -> None:
        calls.append(args)
        if len(calls) > at:
            raise OSError(number, os.strerror(number))

    return fallocate


@pytest.mark.parametrize('number', [errno.EOPNOTSUPP, errno.EINVAL, None])
def test_where_it_cannot_be_taken_the_free_room_is_compared(tmp_path: Path, monkeypatch, number):
    if number is None:  # a system without it
        monkeypatch.delattr(os, 'posix_fallocate', raising=False)
    else:
        monkeypatch.setattr(os, 'posix_fallocate', fails_with(number), raising=False)
    size = total_bytes(dict(train=ABOUT))
    assert size == 6 * (5 * 7 * 2 + 7 * 2 + 2 * 4 + 1)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=400))
    with pytest.raises(
        OSError, match=r'patches\.npy could not be made, it needs 420 .*fewer views'
    ):
        create_arrays(tmp_path, ABOUT)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    create_arrays(tmp_path, ABOUT)
    assert not open_arrays(tmp_path, ABOUT).done.any()


def test_the_room_is_taken_when_the_arrays_are_made_or_there_is_an_error(tmp_path, monkeypatch):
    full = fails_with(errno.ENOSPC, at=1)
    monkeypatch.setattr(os, 'posix_fallocate', full, raising=False)
    message = r'image\.npy .*needs 84 bytes: No space left.*again'
    with pytest.raises(OSError, match=message) as said:
        create_arrays(tmp_path, ABOUT)
    assert said.value.errno == errno.ENOSPC
    assert [file.name for file in tmp_path.iterdir()] == ['patches.npy']
    taken = []
    monkeypatch.setattr(os, 'posix_fallocate', lambda *args: taken.append(args[1:]), raising=False)
    create_arrays(tmp_path, ABOUT)
    create_arrays(tmp_path, ABOUT)  # what is there is left alone
    sizes = [(tmp_path / f'{name}.npy').stat().st_size for name in array_specs(ABOUT)]
    assert taken == [(0, size) for size in sizes[1:]]
    assert not open_arrays(tmp_path, ABOUT).done.any()


def npy(shape: tuple, dtype: type) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(shape, dtype))
    return stream.getvalue()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (npy((2, 3, 7), np.float16)[:-1], r'is damaged or cut short.*\(2, 3, 7\)'),
        (npy((2, 3, 8), np.float16), r'holds float16 of shape \(2, 3, 8\).*\(2, 3, 7\)'),
        (npy((2, 3, 7), np.float32), r'holds float32 of shape \(2, 3, 7\)'),
    ],
)
def test_an_array_that_is_something_else_is_named(folder: Path, content: bytes, message: str):
    (folder / 'image.npy').write_bytes(content)
    with pytest.raises(ValueError, match=rf'image\.npy {message}'):
        open_arrays(folder, ABOUT)
    (folder / 'image.npy').unlink()
    with pytest.raises(FileNotFoundError, match=r'image\.npy is missing.*sotglp extract'):
        open_arrays(folder, ABOUT)


def test_a_foreign_manifest_is_refused(mini_cache, tmp_path: Path):
    edited = (mini_cache.cache / 'manifest.json').read_text().replace('"views": 3', '"views": 2')
    for content, message in [
        ('[]', 'is not the manifest of a feature cache'),
        ('{"format": 2}', 'is of format 2, this version reads 3'),
        (edited, 'is damaged or was edited: its sha256 differs'),
    ]:
        (tmp_path / 'manifest.json').write_text(content)
        with pytest.raises(ValueError, match=rf'manifest\.json {message}'):
            read_manifest(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'no feature cache in .*absent.*--out'):
        read_manifest(tmp_path / 'absent')


def test_an_edited_list_of_images_is_refused(mini_cache, tmp_path: Path):
    copy = mini_cache.copy(tmp_path)
    file = copy / 'train' / 'samples.json'
    rows = json.loads(file.read_text())
    rows[0][1] = 1  # another label
    file.write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r'samples\.json is not the list of images'):
        read_split(copy, 'train')
    with pytest.raises(ValueError, match=r"has no split 'val'; it has train, test"):
        read_split(copy, 'val')
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r'samples\.json is missing'):
        read_split(copy, 'train')

"""The layout of a cache: what is pinned, and what is said of files that are not as they were."""

import json
from pathlib import Path

import numpy as np
import pytest

from sotglp_mm.feature_cache import (
    array_specs,
    create_arrays,
    first_difference,
    open_arrays,
    plain,
    read_manifest,
    read_split,
)

BROKEN_HEADER = b'\x93NUMPY\x01\x00\x20\x00' + b"{'shape': (3, ".ljust(32)

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


@pytest.mark.parametrize('name', list(array_specs(ABOUT)))
def test_a_missing_array_is_named(folder: Path, name: str):
    (folder / f'{name}.npy').unlink()
    with pytest.raises(FileNotFoundError, match=rf'{name}\.npy is missing.*extract_features'):
        open_arrays(folder, ABOUT)


def test_a_truncated_array_is_named(folder: Path):
    file = folder / 'patches.npy'
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r'patches\.npy is damaged or cut short.*\(2, 3, 5, 7\)'):
        open_arrays(folder, ABOUT)


@pytest.mark.parametrize('content', [b'', b'not an array', b'\x80\x04K\x01.', BROKEN_HEADER])
def test_a_foreign_array_is_named(folder: Path, content: bytes):
    (folder / 'image.npy').write_bytes(content)
    with pytest.raises(ValueError, match=r'image\.npy is damaged'):
        open_arrays(folder, ABOUT)


def test_pickled_objects_are_not_read(folder: Path):
    np.save(folder / 'image.npy', np.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r'image\.npy is damaged.*object'):
        open_arrays(folder, ABOUT)


@pytest.mark.parametrize(
    ('array', 'found'),
    [
        (np.zeros((2, 3, 8), np.float16), r'float16 of shape \(2, 3, 8\)'),
        (np.zeros((2, 3, 7), np.float32), r'float32 of shape \(2, 3, 7\)'),
    ],
)
def test_an_array_of_another_shape_or_dtype_is_refused(folder: Path, array, found: str):
    np.save(folder / 'image.npy', array)
    with pytest.raises(ValueError, match=rf'image\.npy holds {found}.*\(2, 3, 7\)'):
        open_arrays(folder, ABOUT)


def test_no_cache(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r'no feature cache in .*absent.*--out'):
        read_manifest(tmp_path / 'absent')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'is not JSON'),
        ('[]', 'is not the manifest of a feature cache: it lacks format, backbone'),
        ('{"splits": {}}', 'it lacks format, backbone, data_preprocessor'),
    ],
)
def test_a_foreign_manifest_is_refused(tmp_path: Path, content: str, message: str):
    (tmp_path / 'manifest.json').write_text(content)
    with pytest.raises(ValueError, match=rf'manifest\.json {message}|{message}'):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(format=1), r'is of format 1, this version reads 2'),
        (dict(splits=[]), r'lacks splits by name'),
        (dict(splits=dict(train={})), r"split 'train' has no usable 'views'"),
    ],
)
def test_a_manifest_of_another_form_is_refused(mini_cache, tmp_path, change, message: str):
    manifest = read_manifest(mini_cache.cache)
    (tmp_path / 'manifest.json').write_text(json.dumps({**manifest, **change}))
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path)


def test_a_negative_size_is_refused(mini_cache, tmp_path: Path):
    manifest = read_manifest(mini_cache.cache)
    manifest['splits']['test']['width'] = -4
    (tmp_path / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"split 'test' has no usable 'width'"):
        read_manifest(tmp_path)


def test_classes_that_are_no_names_are_refused(mini_cache, tmp_path: Path):
    manifest = read_manifest(mini_cache.cache)
    manifest['splits']['test']['classes'][1] = None
    (tmp_path / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"split 'test' has 'classes' that are no names"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(classes=['banded']), r'has the row .* a label of the 1 classes of the manifest'),
        (dict(num_images=3), r'is not a list of 3 images'),
    ],
)
def test_images_that_the_manifest_does_not_fit(mini_cache, tmp_path: Path, change, message: str):
    copied = mini_cache.copy(tmp_path)
    manifest = read_manifest(copied)
    manifest['splits']['test'].update(change)
    (copied / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=rf'samples\.json {message}'):
        read_split(copied, 'test')


def test_an_absent_split_is_named(mini_cache):
    with pytest.raises(ValueError, match=r"has no split 'val'; it has train, test"):
        read_split(mini_cache.cache, 'val')


def test_an_edited_list_of_images_is_refused(mini_cache, tmp_path: Path):
    copy = mini_cache.copy(tmp_path)
    file = copy / 'train' / 'samples.json'
    rows = json.loads(file.read_text())
    rows[0][1] = 1  # another label
    file.write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r'samples\.json is not the list of images'):
        read_split(copy, 'train')
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r'samples\.json is missing'):
        read_split(copy, 'train')


@pytest.mark.parametrize(
    ('pinned', 'found', 'expected'),
    [
        (dict(a=1, b=[2, 3]), dict(a=1, b=[2, 3]), None),
        (dict(a=1, b=2), dict(a=1, b=3), ('k.b', '2', '3')),
        (dict(a=[dict(c=1)]), dict(a=[dict(c=2)]), ('k.a[0].c', '1', '2')),
        (dict(a=1), dict(a=1, b=2), ('k.b', 'absent', '2')),
        (dict(a=1, b=2), dict(a=1), ('k.b', '2', 'absent')),
        ([1, 2], [1], ('k', 'of length 2', 'of length 1')),
        ([], {}, ('k', '[]', '{}')),
    ],
)
def test_the_first_difference_is_found(pinned, found, expected):
    assert first_difference(pinned, found, 'k') == expected


def test_plain_values_survive_json():
    assert plain(dict(a=(1, 2), b=Path('x'))) == dict(a=[1, 2], b='x')

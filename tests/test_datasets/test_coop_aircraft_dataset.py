"""FGVC-Aircraft's own lists."""

from pathlib import Path

import pytest
from mini_data import AIRCRAFT, write_set
from mmpretrain.registry import DATASETS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_set(tmp_path, 'fgvc_aircraft')
    return tmp_path / 'fgvc_aircraft'


def build(root: Path, **settings):
    return DATASETS.build(dict(type='CoOpAircraftDataset', data_root=str(root), **settings))


def test_train_and_val_together(root: Path):
    train, val = build(root, split='train'), build(root, split='val')
    both = build(root, split='trainval')
    paths = [d.get_data_info(i)['img_path'] for d in (train, val) for i in range(len(d))]
    assert [both.get_data_info(i)['img_path'] for i in range(len(both))] == paths
    assert len(both) == 3 * (4 + 1)
    assert not both.test_mode
    assert tuple(both.metainfo['classes']) == AIRCRAFT


def test_the_list_from_which_the_released_program_draws(root: Path):
    lines = [*(root / 'images_variant_val.txt').read_text().splitlines()]
    lines += (root / 'images_variant_train.txt').read_text().splitlines()
    (root / 'images_variant_trainval.txt').write_text('\n'.join(lines))
    listed = build(root, split='trainval_file')
    paths = [Path(listed.get_data_info(i)['img_path']).stem for i in range(len(listed))]
    assert paths == [line.split()[0] for line in lines]
    assert not listed.test_mode


def test_an_unknown_variant_is_named(root: Path):
    file = root / 'images_variant_val.txt'
    file.write_text(file.read_text() + '1000001 Flying Saucer\n')
    with pytest.raises(ValueError, match=r"variant_val.txt, line 4: '1000001 Flying Saucer'"):
        build(root, split='val')


def test_a_variant_that_is_there_twice_is_named(root: Path):
    file = root / 'variants.txt'
    file.write_text(file.read_text() + AIRCRAFT[0] + '\n')
    with pytest.raises(ValueError, match=rf'variants\.txt names {AIRCRAFT[0]!r} twice'):
        build(root)


def test_an_absent_list_is_named(root: Path):
    (root / 'variants.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'variants\.txt does not exist; expected the'):
        build(root)


def test_an_unknown_split(root: Path):
    with pytest.raises(ValueError, match=r"split='tests' is not known; choose one of"):
        build(root, split='tests')


def test_an_absent_image_is_named(root: Path):
    missing = sorted((root / 'images').iterdir())[0]
    missing.unlink()
    with pytest.raises(FileNotFoundError, match=rf'1 of 12 images.*{missing.name}'):
        build(root)

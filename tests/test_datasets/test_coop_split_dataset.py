"""CoOp's layout: what is read, and which file or row an error names."""

import itertools
import json
from pathlib import Path

import pytest
from mmpretrain.registry import DATASETS
from PIL import Image

SPLITS = {
    'train': [
        ['dog/d0.png', 1, 'sea dog'],
        ['cat/c0.png', 0, 'cat'],
        ['dog/d1.png', 1, 'sea dog'],
    ],
    'val': [['cat/c1.png', 0, 'cat']],
    'test': [['cow/w0.png', 2, 'cow'], ['cat/c2.png', 0, 'cat']],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / 'pets'
    for relative, *_ in itertools.chain(*SPLITS.values()):
        file = root / 'images' / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (5, 4)).save(file)
    write(root, SPLITS)
    return root


def write(root: Path, splits) -> None:
    (root / 'split.json').write_text(json.dumps(splits))


def build(root: Path, **settings):
    config = dict(type='CoOpSplitDataset', data_root=str(root), split_file='split.json')
    return DATASETS.build({**config, **settings})


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_rows_in_the_order_of_the_file(root: Path, split: str):
    dataset = build(root, split=split)
    found = [
        (dataset.get_data_info(i)['img_path'], dataset.get_data_info(i)['gt_label'])
        for i in range(len(dataset))
    ]
    expected = [(str(root / 'images' / path), label) for path, label, _ in SPLITS[split]]
    assert found == expected
    assert dataset.test_mode is (split != 'train')


def test_class_names_come_from_all_splits(root: Path):
    # the train split alone has no cow
    assert tuple(build(root).metainfo['classes']) == ('cat', 'sea dog', 'cow')


def test_images_right_below_the_root(root: Path):
    dataset = build(root / 'images', data_prefix='.', split_file='../split.json')
    assert Path(dataset.get_data_info(0)['img_path']).samefile(root / 'images/dog/d0.png')


def test_missing_root_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r'data_root .*nowhere does not exist'):
        build(tmp_path / 'nowhere')


def test_missing_split_file_is_named(root: Path):
    with pytest.raises(FileNotFoundError, match=r'split file .*split_zhou\.json does not exist'):
        build(root, split_file='split_zhou.json')


def test_missing_images_are_counted_and_the_first_is_named(root: Path):
    (root / 'images/cat/c0.png').unlink()
    (root / 'images/dog/d1.png').unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 3 images of split 'train'.*cat/c0\.png"):
        build(root)
    assert len(build(root, split='test')) == 2  # whose images are all there


def test_a_path_that_no_system_takes_is_missing(root: Path):
    splits = json.loads((root / 'split.json').read_text())
    splits['train'][0][0] = 'x' * 300
    (root / 'split.json').write_text(json.dumps(splits))
    with pytest.raises(FileNotFoundError, match=r"1 of 3 images of split 'train'"):
        build(root)


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (
            dict(test=[['cow/w0.png', 2, 'cow'], ['./cat/c0.png', 0, 'cat']]),
            r"has \./cat/c0\.png in 'train' as 'cat' and in 'test' as 'cat'; an image of train",
        ),
        (
            dict(val=[['cow/w0.png', 0, 'cat']]),
            r"has cow/w0\.png in 'val' as 'cat' and in 'test' as 'cow'",
        ),
    ],
    ids=['in two splits', 'two labels'],
)
def test_one_image_twice(root: Path, changed: dict, message: str):
    write(root, {**SPLITS, **changed})
    with pytest.raises(ValueError, match=message):
        build(root)
    write(root, {**SPLITS, 'val': SPLITS['test']})  # val may serve as test
    assert len(build(root, split='test')) == 2


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(val=[['cat/c1.png', 0, 'kitten']]), r"label 0 is called 'cat' and.*'kitten'"),
        (dict(test=[['cow/w0.png', 3, 'cow']]), r'labels must be .*no row has label 2'),
        (
            dict(train=[], test=SPLITS['train'] + SPLITS['test']),
            r"split 'train' of .*split\.json names no image",
        ),
    ],
)
def test_a_list_that_cannot_be_used(root: Path, changes: dict, message: str):
    write(root, {**SPLITS, **changes})
    with pytest.raises(ValueError, match=message):
        build(root)


@pytest.mark.parametrize('path', ['../secret.png', 'cat/../../secret.png', '/etc/secret.png'])
def test_a_path_out_of_the_folder(root: Path, path: str):
    write(root, {**SPLITS, 'val': [[path, 0, 'cat']]})
    with pytest.raises(ValueError, match=rf'split\.json names {path!r}; expected a path below'):
        build(root)


def test_a_split_that_the_file_lacks(root: Path):
    write(root, {'train': SPLITS['train'], 'test': SPLITS['test']})
    with pytest.raises(ValueError, match=r"has no split 'val'; it has \['test', 'train'\]"):
        build(root, split='val')

"""ImageNet's classes in another style: labels stay ImageNet's."""

from pathlib import Path

import pytest
from mini_data import WNIDS, write_set
from mmpretrain.registry import DATASETS

from sotglp_mm.class_names import resolve_class_names
from sotglp_mm.datasets.known_sets import KNOWN_SETS

NAMES = list(resolve_class_names('imagenet')[: len(WNIDS)])


def build(all_data: Path, name: str, **settings):
    known = KNOWN_SETS[name]
    root = dict(data_root=str(all_data / known.folder), data_prefix=known.images)
    return DATASETS.build(dict(type='ImageNetShiftDataset', class_names=NAMES, **root, **settings))


@pytest.mark.parametrize(
    'name, labels',
    [
        ('imagenetv2', None),
        ('imagenet_sketch', None),
        ('imagenet_a', (1, 3)),
        ('imagenet_r', (0, 2)),
    ],
)
def test_labels_and_who_competes(tmp_path: Path, name: str, labels: tuple | None):
    write_set(tmp_path, name)
    dataset = build(tmp_path, name)
    assert list(dataset.metainfo['classes']) == NAMES
    assert dataset.metainfo.get('competing_labels') == labels
    for i in range(len(dataset)):
        # the miniature's files carry the label
        assert dataset.get_cat_ids(i)[0] == int(
            Path(dataset.get_data_info(i)['img_path']).stem.split('_')[-2]
        )
    assert {dataset.get_cat_ids(i)[0] for i in range(len(dataset))} == set(labels or range(4))


def test_label_folders_are_numbers_not_strings(tmp_path: Path):
    names = [f'class {i}' for i in range(11)]
    for label in range(11):
        from mini_data import write_image

        write_image(tmp_path / 'v2' / 'all' / str(label) / f'x_{label}_0.jpg', label % 4)
    dataset = DATASETS.build(
        dict(
            type='ImageNetShiftDataset',
            data_root=str(tmp_path / 'v2'),
            data_prefix='all',
            class_names=names,
        )
    )
    # as strings, '10' would come before '2'
    assert [dataset.get_cat_ids(i)[0] for i in range(11)] == list(range(11))


def test_a_folder_of_no_class(tmp_path: Path):
    write_set(tmp_path, 'imagenet_r')
    (tmp_path / 'imagenet-rendition/imagenet-r/n99999999').mkdir()
    with pytest.raises(ValueError, match=r"'n99999999' is neither a WordNet id of the first 4"):
        build(tmp_path, 'imagenet_r')


def test_nothing_there(tmp_path: Path):
    with pytest.raises(
        FileNotFoundError, match=r'imagenet-a does not exist, or has no class fold'
    ):
        build(tmp_path, 'imagenet_a')

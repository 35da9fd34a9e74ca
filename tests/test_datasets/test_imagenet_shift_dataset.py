"""ImageNet's classes in another style: labels stay ImageNet's."""

import re
import shutil
from pathlib import Path

import pytest
from mini_data import SHIFT_LABELS, WNIDS, write_image, write_set
from mmpretrain.registry import DATASETS
from timm.data import ImageNetInfo

from sotglp_mm.class_names.resolve import resolve_class_names
from sotglp_mm.datasets.known_sets import KNOWN_SETS

NAMES = list(resolve_class_names('imagenet')[: len(WNIDS)])


def build(all_data: Path, name: str, **settings):
    known = KNOWN_SETS[name]
    root = dict(data_root=str(all_data / known.folder), data_prefix=known.images)
    mini = dict(class_names=NAMES, num_classes=len(SHIFT_LABELS[name]))
    return DATASETS.build({'type': 'ImageNetShiftDataset', **root, **mini, **settings})


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
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    sample = build(tmp_path, name, pipeline=pipeline)[0]['data_samples']
    assert sample.get('competing_labels') == labels  # in a test of this set alone, too


def test_label_folders_are_numbers_not_strings(tmp_path: Path):
    for label in range(11):
        write_image(tmp_path / 'v2' / 'all' / str(label) / f'x_{label}_0.jpg', label % 4)
    names = dict(class_names=[f'class {i}' for i in range(11)], num_classes=None)
    place = dict(data_root=str(tmp_path / 'v2'), data_prefix='all')
    dataset = build(tmp_path, 'imagenetv2', **place, **names)
    # as strings, '10' would come before '2'
    assert [dataset.get_cat_ids(i)[0] for i in range(11)] == list(range(11))


def test_a_folder_of_no_class_too_many_classes_and_none(tmp_path: Path):
    write_set(tmp_path, 'imagenet_r')
    with pytest.raises(ValueError, match=r'imagenet-r: 2 classes have an image, expected 1\. '):
        build(tmp_path, 'imagenet_r', num_classes=1)
    (tmp_path / 'imagenet-rendition/imagenet-r/n99999999').mkdir()
    with pytest.raises(ValueError, match=r"'n99999999' is neither a WordNet id of the first 4"):
        build(tmp_path, 'imagenet_r')
    with pytest.raises(FileNotFoundError, match=r'imagenet-a does not exist, or has no class fol'):
        build(tmp_path, 'imagenet_a')


def write_classes(images: Path, folders: list[str]) -> None:
    """An image for each class, of no content: datasets only list them."""
    for folder in folders:
        (images / folder).mkdir(parents=True)
        (images / folder / 'one.jpg').touch()


WHOLE = {
    'imagenetv2': [str(label) for label in range(1000)],
    'imagenet_sketch': ImageNetInfo().label_names(),
    'imagenet_a': ImageNetInfo().label_names()[:200],
    'imagenet_r': ImageNetInfo().label_names()[:200],
}
AS_PUBLISHED = dict(class_names='imagenet', num_classes=None)


@pytest.mark.parametrize('name', WHOLE)
def test_a_published_set_must_be_whole(tmp_path: Path, name: str):
    known, folders = KNOWN_SETS[name], WHOLE[name]
    images = tmp_path / known.folder / known.images
    write_classes(images, folders)
    assert len(build(tmp_path, name, **AS_PUBLISHED)) == known.num_classes

    for folder in folders[100:150]:
        shutil.rmtree(images / folder)
    left = known.num_classes - 50
    # which 200 classes -A and -R have is not known, so none of them can be named
    first = f', the first without is {images / folders[100]}' if known.num_classes == 1000 else ''
    told = (
        f'{images}: {left} classes have an image, expected {known.num_classes}{first}. Unpack the '
        f'archive again ({known.source}); for a subset on purpose, move empty folders away and '
        f'set num_classes={left} in the config'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(told)}$'):
        build(tmp_path, name, **AS_PUBLISHED)
    subset = build(tmp_path, name, class_names='imagenet', num_classes=left)
    assert len(subset.metainfo['competing_labels']) == len(subset) == left


@pytest.mark.parametrize('name', ['imagenet_sketch', 'imagenet_r'])
def test_an_empty_class_folder_is_no_class(tmp_path: Path, name: str):
    write_set(tmp_path, name)
    known, label = KNOWN_SETS[name], SHIFT_LABELS[name][1]
    empty = tmp_path / known.folder / known.images / WNIDS[label]
    for image in empty.iterdir():
        image.rename(image.with_suffix('.part'))  # a download that broke off
    number = len(SHIFT_LABELS[name])
    told = f'{number - 1} classes have an image, expected {number}, the first without is {empty}. '
    with pytest.raises(ValueError, match=re.escape(told)):
        build(tmp_path, name)


def test_elsewhere_every_class_folder_must_have_an_image(tmp_path: Path):
    write_classes(tmp_path / 'mine', [WNIDS[1], WNIDS[3]])
    settings = dict(type='ImageNetShiftDataset', data_root=str(tmp_path), data_prefix='mine')
    assert DATASETS.build(settings).metainfo['competing_labels'] == (1, 3)
    with pytest.raises(
        ValueError, match=r'mine: 2 classes have an image, expected 4\. Unpack the '
    ):
        DATASETS.build(dict(settings, num_classes=4))
    (tmp_path / 'mine' / WNIDS[2]).mkdir()
    told = rf'mine: 2 classes have an image, expected 3, the first without is .*{WNIDS[2]}\. '
    with pytest.raises(ValueError, match=told):
        DATASETS.build(settings)

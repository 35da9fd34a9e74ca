"""The benchmark's sets: found in either layout, read as their lists say."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from mini_data import PLACES, SHIFT_LABELS, WNIDS, write_set
from mini_runs import config_of
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from sotglp_mm.class_names.resolve import resolve_class_names
from sotglp_mm.datasets.coop_datasets import find_split_list, read_split_list
from sotglp_mm.datasets.known_sets import KNOWN_SETS

FEW_SHOT = [name for name, known in KNOWN_SETS.items() if known.kind == 'few_shot']
WITH_SPLIT = [name for name in FEW_SHOT if KNOWN_SETS[name].split_file]
PACKAGED = [name for name in WITH_SPLIT if name not in ('food101', 'sun397')]
IMAGENET = list(resolve_class_names('imagenet')[: len(WNIDS)])


def build(all_data: Path, name: str, **settings):
    known = KNOWN_SETS[name]
    config = dict(data_root=str(all_data / known.folder), data_prefix=known.images)
    if known.kind == 'ood':
        config['type'] = 'UnlabelledImagesDataset'
    elif known.kind == 'shift':
        config.update(type='ImageNetShiftDataset', class_names=IMAGENET)
        config['num_classes'] = len(SHIFT_LABELS[name])
    elif name == 'imagenet':
        config.update(type='CoOpImageNetDataset', class_names=IMAGENET)
        del config['data_prefix']
    elif name == 'fgvc_aircraft':
        config['type'] = 'CoOpAircraftDataset'
    else:
        config.update(type='CoOpSplitDataset', split_file=known.split_file)
    return DATASETS.build({**config, **settings})


@pytest.mark.parametrize('name', FEW_SHOT)
def test_splits_classes_and_labels(tmp_path: Path, name: str):
    mini = write_set(tmp_path, name)
    for split, count in mini.counts.items():
        dataset = build(tmp_path, name, split=split)
        assert tuple(dataset.metainfo['classes']) == mini.classes
        labels = [dataset.get_cat_ids(i)[0] for i in range(len(dataset))]
        per_class = np.bincount(labels, minlength=len(mini.classes))
        assert list(per_class) == [count // len(mini.classes)] * len(mini.classes)
        assert dataset.test_mode is (split != 'train')


@pytest.mark.parametrize('name, images', PLACES)
def test_layouts_in_circulation_are_recognised(tmp_path: Path, name: str, images: str):
    write_set(tmp_path / 'coop', name)
    write_set(tmp_path / 'other', name, images_in=images)
    there, here = build(tmp_path / 'coop', name), build(tmp_path / 'other', name)
    assert len(here) == len(there) > 0
    for i in range(len(here)):
        found = Path(here.get_data_info(i)['img_path'])
        assert found.is_relative_to(tmp_path / 'other' / images)
        assert here.get_cat_ids(i) == there.get_cat_ids(i)


def test_a_split_file_beside_a_set_of_the_suite_and_coop_s_place_goes_first(tmp_path: Path):
    write_set(tmp_path, 'eurosat', images_in='dataset_suite/eurosat/2750')
    file = f'eurosat/{KNOWN_SETS["eurosat"].split_file}'
    shutil.move(tmp_path / file, tmp_path / 'dataset_suite' / file)
    assert len(build(tmp_path, 'eurosat', split='test')) == 6
    for images in ('EuroSAT_RGB', ''):
        write_set(tmp_path, 'eurosat', images_in=images)
    place = build(tmp_path, 'eurosat').get_data_info(0)['img_path']
    assert place.startswith(f'{tmp_path}/eurosat/2750')


@pytest.mark.parametrize('name', PACKAGED)
def test_the_packages_own_split_lists_are_the_published_ones(tmp_path: Path, name: str):
    known = KNOWN_SETS[name]
    rows, classes = read_split_list(find_split_list(known.split_file, tmp_path))
    assert {split: len(part) for split, part in rows.items()} == known.counts
    assert classes == resolve_class_names(name)


def test_images_are_all_that_a_set_of_the_package_needs(tmp_path: Path):
    known = KNOWN_SETS['oxford_pets']
    rows, _ = read_split_list(find_split_list(known.split_file, tmp_path))
    images = tmp_path / known.folder / known.images
    images.mkdir(parents=True)
    for path, *_ in rows['val']:
        (images / path).touch()
    dataset = build(tmp_path, 'oxford_pets', split='val')
    assert dataset.get_gt_labels().tolist() == [label for _, label, _ in rows['val']]
    assert dataset.get_data_info(5)['img_path'] == str(images / rows['val'][5][0])


@pytest.mark.parametrize('name', ['food101', 'sun397'])
def test_a_list_that_the_package_lacks_is_named_with_its_source(tmp_path: Path, name: str):
    write_set(tmp_path, name)
    known = KNOWN_SETS[name]
    (tmp_path / known.folder / known.split_file).unlink()
    with pytest.raises(FileNotFoundError, match=rf'{known.split_file} does not .*DATASETS\.md'):
        build(tmp_path, name)


def test_configs_have_places_and_classes_of_the_table():
    assert len(FEW_SHOT) == 11
    for name in FEW_SHOT:
        assert len(resolve_class_names(name)) == KNOWN_SETS[name].num_classes
    for name in WITH_SPLIT:
        known, cfg = KNOWN_SETS[name], Config.fromfile(config_of(name))
        data = cfg.train_dataloader.dataset.dataset
        assert data.data_root == f'data/{known.folder}'
        assert (data.data_prefix, data.split_file) == (known.images, known.split_file)
        assert cfg.model.head.class_names == name
    sets = Config.fromfile(config_of('domains')).test_dataloader.dataset.sets
    assert list(sets) == [name for name, known in KNOWN_SETS.items() if known.kind == 'shift']
    for name, data in sets.items():
        known = KNOWN_SETS[name]
        assert data.data_root == f'data/{known.folder}'
        assert (data.data_prefix, data.num_classes) == (known.images, known.num_classes)

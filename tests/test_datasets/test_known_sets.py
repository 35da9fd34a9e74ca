"""The benchmark's sets: found in either layout, read as their lists say, split where none is."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mini_data import PER_CLASS, SHIFT_LABELS, WNIDS, write_set
from mini_layouts import PLACES
from mmengine.config import Config
from mmpretrain.registry import DATASETS
from scipy.io import savemat

from sotglp_mm.class_names.resolve import resolve_class_names
from sotglp_mm.datasets.known_sets import KNOWN_SETS
from sotglp_mm.datasets.own_split import FILE_NAME

FEW_SHOT = [name for name, known in KNOWN_SETS.items() if known.kind == 'few_shot']
WITH_SPLIT = [name for name in FEW_SHOT if KNOWN_SETS[name].split_file]
OTHERS = [(name, i) for name, known in KNOWN_SETS.items() for i in range(len(known.other_places))]
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


@pytest.mark.parametrize('name, number', OTHERS)
def test_other_places_are_recognised(tmp_path: Path, name: str, number: int):
    write_set(tmp_path / 'coop', name)
    write_set(tmp_path / 'other', name, other_place=number)
    there, here = build(tmp_path / 'coop', name), build(tmp_path / 'other', name)
    folder, images = KNOWN_SETS[name].other_places[number]
    assert len(here) == len(there) > 0
    for i in range(len(here)):
        found = Path(here.get_data_info(i)['img_path'])
        assert found.is_relative_to(tmp_path / 'other' / folder / images)
        assert here.get_cat_ids(i) == there.get_cat_ids(i)


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


def test_a_split_file_beside_a_set_of_the_suite(tmp_path: Path):
    write_set(tmp_path, 'eurosat', images_in='dataset_suite/eurosat/2750')
    file = f'eurosat/{KNOWN_SETS["eurosat"].split_file}'
    shutil.move(tmp_path / file, tmp_path / 'dataset_suite' / file)
    assert len(build(tmp_path, 'eurosat', split='test')) == 6
    assert not (tmp_path / 'dataset_suite' / 'eurosat' / FILE_NAME).exists()


def test_coop_place_goes_first(tmp_path: Path):
    write_set(tmp_path, 'eurosat')
    write_set(tmp_path, 'eurosat', other_place=0)
    assert 'eurosat/2750' in build(tmp_path, 'eurosat').get_data_info(0)['img_path']


def annotate(folder: Path, name: str) -> None:
    """The sets' own annotation, where folders do not tell the class; MATLAB's, from 1."""
    rows = json.loads((folder / KNOWN_SETS[name].split_file).read_text())
    rows = [row for part in rows.values() for row in part]
    if name == 'oxford_flowers':
        numbers = {int(Path(path).stem[-5:]): label + 1 for path, label, _ in rows}
        savemat(
            folder / 'imagelabels.mat',
            dict(labels=[[numbers[n] for n in range(1, len(numbers) + 1)]]),
        )
    if name == 'stanford_cars':
        (folder / 'devkit').mkdir()
        for part, file in (
            ('cars_train', 'devkit/cars_train_annos.mat'),
            ('cars_test', 'cars_test_annos_withlabels.mat'),
        ):
            mine = [(label + 1, Path(p).name) for p, label, _ in rows if p.startswith(part)]
            dtype = [('class', object), ('fname', object)]
            array = np.array(mine, dtype=object)
            table = np.empty((1, len(mine)), dtype=dtype)
            for i, (label, file_name) in enumerate(array):
                table[0, i] = (np.array([[label]]), file_name)
            savemat(folder / file, dict(annotations=table))


@pytest.mark.parametrize('name', WITH_SPLIT)
def test_without_a_split_file(tmp_path: Path, name: str, caplog):
    mini = write_set(tmp_path, name)
    known = KNOWN_SETS[name]
    folder = tmp_path / known.folder
    rows = json.loads((folder / known.split_file).read_text())
    label_of = {path: label for part in rows.values() for path, label, _ in part}
    annotate(folder, name)
    (folder / known.split_file).unlink()

    found = {split: build(tmp_path, name, split=split) for split in PER_CLASS}
    again = build(tmp_path, name)
    assert (folder / FILE_NAME).is_file()
    paths = []
    for dataset in found.values():
        assert tuple(dataset.metainfo['classes']) == mini.classes
        for i in range(len(dataset)):
            path = Path(dataset.get_data_info(i)['img_path']).relative_to(folder / known.images)
            assert dataset.get_cat_ids(i) == [label_of[path.as_posix()]]
            paths.append(path.as_posix())
    assert sorted(paths) == sorted(label_of)  # each image once
    # 7 images of each class: 50 %, 20 %, 30 %, rounded
    assert [len(dataset) for dataset in found.values()] == [12, 3, 6]
    first = [again.get_data_info(i)['img_path'] for i in range(len(again))]
    assert first == [found['train'].get_data_info(i)['img_path'] for i in range(len(first))]


def test_without_a_split_file_a_warning_says_so(tmp_path: Path, monkeypatch):
    write_set(tmp_path, 'dtd')
    (tmp_path / 'dtd' / KNOWN_SETS['dtd'].split_file).unlink()
    told = []
    monkeypatch.setattr(
        'sotglp_mm.datasets.coop_split_dataset.print_log', lambda text, **_: told.append(text)
    )
    build(tmp_path, 'dtd')
    assert 'NUMBERS ARE NOT COMPARABLE' in told[0] and FILE_NAME in told[0]


def test_an_image_of_no_class(tmp_path: Path):
    write_set(tmp_path, 'eurosat')
    folder = tmp_path / 'eurosat'
    (folder / KNOWN_SETS['eurosat'].split_file).unlink()
    shutil.copytree(folder / '2750' / 'Forest', folder / '2750' / 'Moon')
    with pytest.raises(ValueError, match=r"Moon/Forest_1.jpg: 'Moon' is none of the 10 classes"):
        build(tmp_path, 'eurosat')


def test_flowers_without_split_and_annotation(tmp_path: Path):
    write_set(tmp_path, 'oxford_flowers')
    (tmp_path / 'oxford_flowers' / KNOWN_SETS['oxford_flowers'].split_file).unlink()
    with pytest.raises(FileNotFoundError, match=r'imagelabels\.mat does not exist: without a spl'):
        build(tmp_path, 'oxford_flowers')


def test_counts_add_up():
    assert len(FEW_SHOT) == 11
    for name in FEW_SHOT:
        assert len(resolve_class_names(name)) == KNOWN_SETS[name].num_classes
    assert sum(sum(known.counts.values()) for known in KNOWN_SETS.values()) > 1_400_000


def test_configs_name_the_places_of_the_table():
    from mini_configs import config_of

    for name in WITH_SPLIT:
        known, cfg = KNOWN_SETS[name], Config.fromfile(config_of(name))
        data = cfg.train_dataloader.dataset.dataset
        assert data.data_root == f'data/{known.folder}'
        assert (data.data_prefix, data.split_file) == (known.images, known.split_file)
        assert cfg.model.head.class_names == name


def test_the_config_of_the_shifts_names_places_and_classes_of_the_table():
    from mini_configs import config_of

    sets = Config.fromfile(config_of('domains')).test_dataloader.dataset.sets
    assert list(sets) == [name for name, known in KNOWN_SETS.items() if known.kind == 'shift']
    for name, data in sets.items():
        known = KNOWN_SETS[name]
        assert data.data_root == f'data/{known.folder}'
        assert (data.data_prefix, data.num_classes) == (known.images, known.num_classes)

"""A dataset is known by its classes, settings and images, wherever they lie."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_data import WNIDS, write_set
from mini_runs import write_images
from mmpretrain.registry import DATASETS
from PIL import Image

from sotglp_mm.datasets.data_identity import describe_data, image_identity
from sotglp_mm.datasets.known_sets import KNOWN_SETS


def settings(root: Path) -> dict:
    return dict(
        type='FewShotDataset',
        num_shots=2,
        dataset=dict(
            type='CoOpSplitDataset',
            data_root=str(root),
            split_file='split_zhou_DescribableTextures.json',
            pipeline=[dict(type='LoadImageStrict')],
        ),
    )


def describe(config: dict) -> tuple[dict, list]:
    return describe_data(DATASETS.build(config), config)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_images(tmp_path / 'dtd')
    return tmp_path / 'dtd'


def test_the_place_does_not_count(root: Path, tmp_path: Path):
    shutil.copytree(root, tmp_path / 'moved')
    assert describe(settings(root)) == describe(settings(tmp_path / 'moved'))


@pytest.mark.parametrize('name, images', [('eurosat', 'EuroSAT_RGB'), ('imagenet', 'Imagenet')])
def test_the_layout_does_not_count(tmp_path: Path, name: str, images: str):
    write_set(tmp_path / 'coop', name)
    known = KNOWN_SETS[name]
    shutil.copytree(tmp_path / 'coop', tmp_path / 'other')
    shutil.move(tmp_path / 'other' / known.folder / known.images, tmp_path / 'other' / images)
    config = dict(type='CoOpSplitDataset', split_file=known.split_file, data_prefix=known.images)
    if name == 'imagenet':
        classes = [f'class {label}' for label in range(len(WNIDS))]
        config = dict(type='CoOpImageNetDataset', class_names=classes)
    here, there = (
        describe(dict(config, data_root=str(tmp_path / data / known.folder)))
        for data in ('coop', 'other')
    )
    assert here == there


def test_the_place_of_a_few_shot_file_does_not_count(root: Path, tmp_path: Path):
    record = DATASETS.build(settings(root)).few_shot_record()
    (tmp_path / 'a.json').write_text(json.dumps(record))
    shutil.copy(tmp_path / 'a.json', tmp_path / 'b.json')
    here, there = (
        dict(settings(root), files=str(tmp_path / name)) for name in ('a.json', 'b.json')
    )
    assert describe(here) == describe(there) == describe(settings(root))


@pytest.mark.parametrize('place', [0, 500, -1, None])
def test_an_image_edited_counts(root: Path, place: int | None):
    about, samples = describe(settings(root))
    assert about['classes'] == ['banded', 'blotchy', 'braided']
    assert about['num_images'] == len(samples) == 6
    assert about['dataset']['dataset']['pipeline'] == [dict(type='LoadImageStrict')]
    file = root / 'images' / samples[0][0]
    content = bytearray(file.read_bytes())
    assert samples[0][1:] == [0, samples[0][2]]
    assert samples[0][2].startswith(f'{len(content)} bytes, crc32 ')
    if place is None:
        content += b'\0'
    else:
        content[place] ^= 1
    file.write_bytes(content)
    assert describe(settings(root))[0]['samples_sha256'] != about['samples_sha256']


def test_images_that_are_not_files_are_known_by_their_annotation():
    config = dict(type='DemoScenesDataset', split='val')
    about, samples = describe(config)
    assert samples[13] == [dict(seed=[1, 1, 1]), 1, None]
    assert json.loads(json.dumps(about)) == about


def test_arrays_are_known_by_all_of_their_values():
    pixels = np.zeros((32, 32, 3), np.uint8)
    other = pixels.copy()
    other[16, 16] = 1  # in the middle, which NumPy leaves out when it prints
    first, second = (image_identity(dict(img=each, gt_label=1), '') for each in (pixels, other))
    assert first != second and first == image_identity(dict(img=pixels.copy(), gt_label=2), '')
    as_tensor = image_identity(dict(img=torch.tensor(other)), '')
    assert as_tensor == image_identity(dict(img=Image.fromarray(other)), '') == second


@pytest.mark.parametrize(
    ('label', 'metainfo', 'message'),
    [
        (0, {}, r'BaseDataset has no class names; give them in its config, metainfo=dict'),
        ([0, 1], dict(classes=['a', 'b']), r'has the labels \[0, 1\], it is a multi-label set'),
        (None, dict(classes=['a', 'b']), r'has no label; expected one class for each image'),
    ],
    ids=['no names', 'several labels', 'no label'],
)
def test_datasets_that_are_not_of_one_class_an_image(
    tmp_path: Path, label, metainfo, message: str
):
    info = dict(img_path='0.jpg') if label is None else dict(img_path='0.jpg', gt_label=label)
    (tmp_path / 'ann.json').write_text(json.dumps(dict(metainfo={}, data_list=[info])))
    config = dict(type='BaseDataset', ann_file=str(tmp_path / 'ann.json'), metainfo=metainfo)
    with pytest.raises(ValueError, match=message):
        describe(config)
    with pytest.raises(ValueError, match=message):
        DATASETS.build(dict(type='FewShotDataset', dataset=config))

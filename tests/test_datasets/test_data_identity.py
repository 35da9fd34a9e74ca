"""A dataset is known by its classes, settings and images, wherever they lie."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from mini_runs import write_images
from mmpretrain.registry import DATASETS

from sotglp_mm.datasets.data_identity import describe_data


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


def test_what_is_told(root: Path):
    about, samples = describe(settings(root))
    assert about['classes'] == ['banded', 'blotchy', 'braided']
    assert about['num_images'] == len(samples) == 6
    assert about['dataset']['num_shots'] == 2
    assert about['dataset']['dataset']['pipeline'] == [dict(type='LoadImageStrict')]
    identity, label, mark = samples[-1]
    assert identity.startswith('images/braided/braided_train_')
    assert label == 2
    assert mark.startswith(f'{(root / identity).stat().st_size} bytes, crc32 ')


def test_the_place_does_not_count(root: Path, tmp_path: Path):
    shutil.copytree(root, tmp_path / 'moved')
    assert describe(settings(root)) == describe(settings(tmp_path / 'moved'))


def test_the_place_of_a_few_shot_file_does_not_count(root: Path, tmp_path: Path):
    record = DATASETS.build(settings(root)).few_shot_record()
    (tmp_path / 'a.json').write_text(json.dumps(record))
    shutil.copy(tmp_path / 'a.json', tmp_path / 'b.json')
    here, there = (
        dict(settings(root), files=str(tmp_path / name)) for name in ('a.json', 'b.json')
    )
    assert describe(here) == describe(there) == describe(settings(root))


def test_a_replaced_image_counts(root: Path):
    before, samples = describe(settings(root))
    file = root / samples[0][0]
    file.write_bytes(file.read_bytes() + b'\0')
    assert describe(settings(root))[0]['samples_sha256'] != before['samples_sha256']


@pytest.mark.parametrize('place', [0, 500, -1])
def test_an_image_edited_at_the_same_size_counts(root: Path, place: int):
    before, samples = describe(settings(root))
    file = root / samples[0][0]
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert describe(settings(root))[0]['samples_sha256'] != before['samples_sha256']


def test_images_that_are_not_files_are_known_by_their_annotation():
    config = dict(type='DemoScenesDataset', split='val')
    about, samples = describe(config)
    assert samples[13] == [dict(seed=[1, 1, 1]), 1, None]
    assert json.loads(json.dumps(about)) == about


def test_a_dataset_that_cannot_tell_is_refused():
    with pytest.raises(TypeError, match=r"SimpleNamespace has no 'get_data_info'"):
        describe_data(SimpleNamespace(), {})
    nameless = SimpleNamespace(metainfo={}, get_data_info=None, get_cat_ids=None)
    with pytest.raises(TypeError, match='has no class names'):
        describe_data(nameless, {})

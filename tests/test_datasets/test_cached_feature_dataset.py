"""Items of a cache, and a cache that is not what the config asks for."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_runs import CLASSES, VIEWS
from mmengine.dataset import default_collate, worker_init_fn
from mmpretrain.registry import DATASETS
from torch.utils.data import DataLoader

from sotglp_mm.datasets.epoch_sampler import ItemIndex
from sotglp_mm.features.format import open_arrays, signed
from sotglp_mm.structures import ImageFeatures

build = DATASETS.build


@pytest.fixture(scope='module')
def dataset(mini_cache):
    dataset = build(mini_cache.dataset())
    assert len(dataset) == 12
    assert dataset.metainfo['classes'] == dataset.CLASSES == CLASSES
    assert np.bincount(dataset.get_gt_labels()).tolist() == [4, 4, 4]
    assert dataset.get_cat_ids(11) == [2]
    return dataset


@pytest.mark.parametrize('view', range(VIEWS))
def test_an_item_is_one_view_of_one_image(mini_cache, view: int):
    dataset = build(mini_cache.dataset(view=view))
    item = dataset[7]
    stored = open_arrays(mini_cache.cache / 'train', dataset.about)
    assert isinstance(item['inputs'], ImageFeatures)
    for found, of_all in zip(item['inputs'], (stored.patches, stored.image)):
        assert torch.equal(found, torch.tensor(np.array(of_all[view, 7])))
    sample = item['data_samples']
    assert sample.gt_label.tolist() == [1]
    assert (sample.metainfo['view'], sample.metainfo['sample_idx']) == (view, 7)


def test_the_path_of_the_image_is_known_and_without_a_source_no_image_needed(
    dataset, mini_cache, tmp_path
):
    path = Path(dataset[0]['data_samples'].metainfo['img_path'])
    assert path.is_relative_to(mini_cache.folder) and path.is_file()
    without = build(mini_cache.dataset(source=None, cache=str(mini_cache.copy(tmp_path))))
    below = path.relative_to(mini_cache.folder / 'dtd' / 'images').as_posix()
    assert without.get_data_info(0)['img_path'] == below
    assert without[3]['data_samples'].gt_label.tolist() == [0]


def test_a_random_view_follows_the_seed_of_the_worker(dataset):
    def drawn(seed: int) -> list[int]:
        worker_init_fn(0, num_workers=1, rank=0, seed=seed)
        return [dataset[0]['data_samples'].metainfo['view'] for _ in range(30)]

    assert set(drawn(5)) == set(range(VIEWS))
    assert drawn(5) == drawn(5) != drawn(6)


def test_with_the_epoch_sampler_the_view_belongs_to_the_item(dataset):
    def views() -> list[int]:
        items = [dataset[ItemIndex(0, epoch=epoch, seed=1)] for epoch in range(30)]
        return [item['data_samples'].metainfo['view'] for item in items]

    first = views()
    assert set(first) == set(range(VIEWS))
    np.random.seed(7), torch.manual_seed(0)
    before = np.random.get_state()[2], torch.get_rng_state()
    assert views() == first
    assert np.random.get_state()[2] == before[0]  # the draws have left no trace
    assert torch.equal(torch.get_rng_state(), before[1])


def test_a_single_view_draws_nothing(mini_cache):
    dataset = build(mini_cache.dataset('test_dataloader'))
    before = np.random.get_state()[2]
    assert dataset[0]['data_samples'].metainfo['view'] == 0
    assert np.random.get_state()[2] == before


@pytest.mark.parametrize('context', ['fork', 'forkserver'])
def test_workers_open_it_themselves(dataset, context: str):
    dataset[0]  # opened here already
    loader = DataLoader(
        dataset,
        batch_size=5,
        num_workers=1,
        collate_fn=default_collate,
        multiprocessing_context=context,
    )
    batches = list(loader)
    assert batches[0]['inputs'].patches.shape == (5, 36, dataset.about['width'])
    assert sum(len(batch['data_samples']) for batch in batches) == 12


def test_pickling_takes_no_array_along(dataset, mini_cache):
    dataset[0]
    stored = (mini_cache.cache / 'train' / 'patches.npy').stat().st_size
    assert len(pickle.dumps(dataset)) < stored / 4


@pytest.mark.parametrize('view', [VIEWS, -1, 'all', True])
def test_an_absent_view_is_refused(mini_cache, view):
    with pytest.raises(ValueError, match=rf'view={view!r}.*has {VIEWS} views'):
        build(mini_cache.dataset(view=view))


def test_an_incomplete_cache_says_how_to_finish_it(mini_cache, tmp_path: Path):
    copy = mini_cache.copy(tmp_path)
    file = copy / 'train' / 'done.npy'
    done = np.load(file)
    done[1, 3] = False
    np.save(file, done)
    message = r'is incomplete: .* 35 of 36 .*sotglp extract .*--views 3'
    with pytest.raises(ValueError, match=message):
        build(mini_cache.dataset(cache=str(copy)))


def all_zero(cache: Path) -> None:
    file = cache / 'train' / 'patches.npy'
    np.save(file, np.zeros_like(np.load(file)))


def of_other_images(cache: Path) -> None:
    file = cache / 'train' / 'patches.npy'
    np.save(file, np.load(file)[:, ::-1])


def of_another_tower(cache: Path) -> None:
    """Features, checksums and all; the manifest alone is of this cache."""
    file = cache / 'manifest.json'
    manifest = json.loads(file.read_text())
    manifest['backbone']['first_block_residual'] = False
    file.write_text(json.dumps(signed(manifest)))


@pytest.mark.parametrize('change', [all_zero, of_other_images, of_another_tower])
def test_features_that_are_not_of_this_cache_are_refused(mini_cache, tmp_path: Path, change):
    copy = mini_cache.copy(tmp_path)
    change(copy)
    dataset = build(mini_cache.dataset(cache=str(copy), view=1))
    message = r'patches\.npy is not .* image 2, view 1 .*sotglp extract .*--views'
    with pytest.raises(ValueError, match=message):
        dataset[2]


def test_a_single_changed_bit_is_noticed_where_it_is(mini_cache, tmp_path: Path):
    copy = mini_cache.copy(tmp_path)
    dataset = build(mini_cache.dataset(cache=str(copy), view=1))
    open_arrays(copy / 'train', dataset.about, 'r+').image.view(np.uint16)[1, 4, -1] ^= 1
    assert dataset[3]['data_samples'].gt_label.tolist() == [0]
    message = r'image\.npy is not what was written for image 4, view 1'
    with pytest.raises(ValueError, match=message):
        dataset[4]


@pytest.fixture
def moved(mini_cache, tmp_path: Path) -> dict:
    """A cached dataset whose images lie elsewhere."""
    root = Path(shutil.copytree(mini_cache.folder / 'dtd', tmp_path / 'dtd'))
    config = mini_cache.dataset()
    config['source']['dataset'].update(data_root=str(root))
    assert len(build(config)) == 12
    return config


def rewrite(place: int, old: str, new: str):
    """In every row of the split list."""

    def change(source: dict) -> None:
        file = Path(source['dataset']['data_root'], 'split_zhou_DescribableTextures.json')
        splits = json.loads(file.read_text())
        for row in [row for rows in splits.values() for row in rows]:
            row[place] = row[place].replace(old, new)
        file.write_text(json.dumps(splits))

    return change


def rename_images(source: dict) -> None:
    for old in Path(source['dataset']['data_root'], 'images/banded').glob('*train*'):
        old.rename(old.with_name(old.name.replace('banded_train', 'renamed')))
    rewrite(0, 'banded/banded_train_', 'banded/renamed_')(source)


def replace_images(source: dict) -> None:
    for file in Path(source['dataset']['data_root']).rglob('*train*.jpg'):
        file.write_bytes(file.read_bytes() + b'\0')


PIPELINE = r'splits\.train\.dataset\.dataset\.pipeline'
CROP = dict(type='CenterCrop', crop_size=50)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.update(num_shots=2), r'splits\.train\.dataset\.num_shots was 4, and is 2'),
        (lambda s: s.update(seed=2), r'splits\.train\.dataset\.seed was 1, and is 2'),
        (
            lambda s: s['dataset']['pipeline'][1].update(scale=40),
            rf'{PIPELINE}\.1\.scale was 48, and is 40',
        ),
        (
            lambda s: s['dataset']['pipeline'].insert(1, CROP),
            rf"{PIPELINE}\.1\.type was 'Resize', and is 'CenterCrop'",
        ),
        (rewrite(2, 'blotchy', 'dotted'), r"classes\.1 was 'blotchy', and is 'dotted' now"),
        (rename_images, r"samples\.json\.0\.0 was 'banded/banded_tr"),
        (replace_images, r"samples\.json\.0\.2 was '\d+ bytes, .*', and is '\d+ bytes,"),
    ],
)
def test_other_settings_and_data_are_named(moved: dict, change, message: str):
    change(moved['source'])
    with pytest.raises(ValueError, match=message):
        build(moved)

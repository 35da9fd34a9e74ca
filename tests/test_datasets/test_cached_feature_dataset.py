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


def build(config: dict):
    return DATASETS.build(config)


@pytest.fixture(scope='module')
def dataset(mini_cache):
    return build(mini_cache.dataset())


def test_what_it_is(dataset):
    assert len(dataset) == 12
    assert dataset.metainfo['classes'] == dataset.CLASSES == CLASSES
    assert np.bincount(dataset.get_gt_labels()).tolist() == [4, 4, 4]
    assert dataset.get_cat_ids(11) == [2]


@pytest.mark.parametrize('view', range(VIEWS))
def test_an_item_is_one_view_of_one_image(mini_cache, view: int):
    dataset = build(mini_cache.dataset(view=view))
    item = dataset[7]
    stored = open_arrays(mini_cache.cache / 'train', dataset.about)
    assert isinstance(item['inputs'], ImageFeatures)
    torch.testing.assert_close(
        item['inputs'].patches, torch.tensor(np.array(stored.patches[view, 7])), rtol=0, atol=0
    )
    torch.testing.assert_close(
        item['inputs'].image, torch.tensor(np.array(stored.image[view, 7])), rtol=0, atol=0
    )
    sample = item['data_samples']
    assert sample.gt_label.tolist() == [1]
    assert sample.metainfo['view'] == view
    assert sample.metainfo['sample_idx'] == 7


def test_views_differ_and_images_too(dataset, mini_cache):
    stored = open_arrays(mini_cache.cache / 'train', dataset.about)
    # half of the images are mirrored: among twelve images, three views are not all alike
    assert len(np.unique(np.asarray(stored.patches).reshape(VIEWS, -1), axis=0)) > 1
    assert len(np.unique(np.asarray(stored.patches[0]).reshape(12, -1), axis=0)) == 12


def test_the_path_of_the_image_is_known(dataset, mini_cache):
    path = Path(dataset[0]['data_samples'].metainfo['img_path'])
    assert path.is_relative_to(mini_cache.folder) and path.is_file()
    without = build(mini_cache.dataset(source=None))
    assert (
        without.get_data_info(0)['img_path']
        == path.relative_to(mini_cache.folder / 'dtd' / 'images').as_posix()
    )


def drawn(dataset, seed: int) -> list[int]:
    worker_init_fn(0, num_workers=1, rank=0, seed=seed)
    return [dataset[0]['data_samples'].metainfo['view'] for _ in range(30)]


def test_a_random_view_follows_the_seed_of_the_worker(dataset):
    assert set(drawn(dataset, 5)) == set(range(VIEWS))
    assert drawn(dataset, 5) == drawn(dataset, 5) != drawn(dataset, 6)


def test_with_the_epoch_sampler_the_view_belongs_to_the_item(dataset):
    def views() -> list[int]:
        items = [dataset[ItemIndex(0, epoch=epoch, seed=1)] for epoch in range(30)]
        return [item['data_samples'].metainfo['view'] for item in items]

    first = views()
    assert set(first) == set(range(VIEWS))
    np.random.seed(7)
    position = np.random.get_state()[2]
    assert views() == first
    assert np.random.get_state()[2] == position  # the draws have left no trace


def test_drawing_a_view_leaves_torch_alone(dataset):
    torch.manual_seed(0)
    dataset[0]
    after = torch.rand(3)
    torch.manual_seed(0)
    torch.testing.assert_close(torch.rand(3), after)


def test_a_single_view_draws_nothing(mini_cache):
    dataset = build(mini_cache.dataset('test_dataloader'))
    before = np.random.get_state()[2]
    assert dataset[0]['data_samples'].metainfo['view'] == 0
    assert np.random.get_state()[2] == before


@pytest.mark.parametrize('context', ['fork', 'spawn'])
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
    with pytest.raises(
        ValueError, match=r'image\.npy is not what was written for image 4, view 1'
    ):
        dataset[4]


def changed_source(mini_cache, change) -> dict:
    config = mini_cache.dataset()
    change(config['source'])
    return config


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.update(num_shots=2), r'splits\.train\.dataset\.num_shots was 4, and is 2'),
        (lambda s: s.update(seed=2), r'splits\.train\.dataset\.seed was 1, and is 2'),
        (
            lambda s: s['dataset']['pipeline'][1].update(scale=40),
            r'splits\.train\.dataset\.dataset\.pipeline\.1\.scale was 48, and is 40',
        ),
        (
            lambda s: s['dataset']['pipeline'].insert(1, dict(type='CenterCrop', crop_size=50)),
            r"pipeline\.1\.type was 'Resize', and is 'CenterCrop'",
        ),
    ],
)
def test_changed_settings_are_named(mini_cache, change, message: str):
    with pytest.raises(ValueError, match=message):
        build(changed_source(mini_cache, change))


def moved_source(mini_cache, tmp_path: Path) -> tuple[dict, Path]:
    root = Path(shutil.copytree(mini_cache.folder / 'dtd', tmp_path / 'dtd'))
    return changed_source(mini_cache, lambda s: s['dataset'].update(data_root=str(root))), root


def test_the_data_may_lie_elsewhere(mini_cache, tmp_path: Path):
    config, _ = moved_source(mini_cache, tmp_path)
    assert len(build(config)) == 12


def rewrite_rows(root: Path, change) -> None:
    file = root / 'split_zhou_DescribableTextures.json'
    splits = json.loads(file.read_text())
    for rows in splits.values():
        for row in rows:
            change(row)
    file.write_text(json.dumps(splits))


def test_changed_class_names_are_named(mini_cache, tmp_path: Path):
    config, root = moved_source(mini_cache, tmp_path)
    rewrite_rows(root, lambda row: row.__setitem__(2, row[2].replace('blotchy', 'dotted')))
    with pytest.raises(ValueError, match=r"classes\.1 was 'blotchy', and is 'dotted' now"):
        build(config)


def test_a_changed_list_of_images_is_named(mini_cache, tmp_path: Path):
    config, root = moved_source(mini_cache, tmp_path)
    for number in range(5):
        old = root / 'images' / 'banded' / f'banded_train_{number}.jpg'
        old.rename(old.with_name(f'renamed_{number}.jpg'))
    rename = ('banded/banded_train_', 'banded/renamed_')
    rewrite_rows(root, lambda row: row.__setitem__(0, row[0].replace(*rename)))
    with pytest.raises(ValueError, match=r"samples\.json\.0\.0 was 'banded/banded_tr"):
        build(config)


def test_a_replaced_image_is_named(mini_cache, tmp_path: Path):
    config, root = moved_source(mini_cache, tmp_path)
    for file in (root / 'images').rglob('*train*.jpg'):
        file.write_bytes(file.read_bytes() + b'\0')
    with pytest.raises(
        ValueError, match=r"samples\.json\.0\.2 was '\d+ bytes, .*', and is '\d+ bytes,"
    ):
        build(config)


def test_without_a_source_no_image_is_needed(mini_cache, tmp_path: Path):
    moved = mini_cache.dataset(source=None, cache=str(mini_cache.copy(tmp_path)))
    assert build(moved)[3]['data_samples'].gt_label.tolist() == [0]

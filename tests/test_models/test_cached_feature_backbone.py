"""The cached stand-in of the image tower: which tower it stands for, and that data are its."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate, pseudo_collate
from mmpretrain.registry import DATASETS, HOOKS, MODELS
from small_clip import write_clip
from torch.utils.data import ConcatDataset

from sotglp_mm.datasets import EvaluationSets
from sotglp_mm.features.format import signed
from sotglp_mm.structures import ImageFeatures


@pytest.fixture(scope='module')
def cfg(mini_cache):
    return mini_cache.load(mini_cache.cache / 'config.py')


@pytest.fixture(scope='module')
def items(mini_cache):
    dataset = DATASETS.build(mini_cache.dataset(view=0))
    return [dataset[index] for index in (0, 5, 9)]


def test_it_gives_what_the_tower_gives(cfg, mini_cache, items):
    """View 0 of an image of the test set, whose pipeline leaves nothing to chance."""
    plain = mini_cache.load(mini_cache.config)
    images = DATASETS.build(plain.test_dataloader.dataset)
    uncached = MODELS.build(plain.model).eval()
    data = uncached.data_preprocessor(default_collate([images[4], images[6]]))
    expected = uncached.backbone(data['inputs'])

    cached = MODELS.build(cfg.model).eval()
    assert list(cached.state_dict()) == list(uncached.state_dict())
    dataset = DATASETS.build(mini_cache.dataset('test_dataloader'))
    data = cached.data_preprocessor(default_collate([dataset[4], dataset[6]]))
    found = cached.backbone(data['inputs'])
    assert isinstance(found, ImageFeatures)
    half = ImageFeatures(*items[0]['inputs'])
    assert half.patches.dtype == torch.float16
    assert {part.dtype for part in cached.backbone(half)} == {torch.float32}
    # float16 has 11 bits
    torch.testing.assert_close(found.patches, expected.patches, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.image, expected.image, rtol=1e-3, atol=1e-3)
    assert [sample.gt_label.item() for sample in data['data_samples']] == [1, 2]


def test_images_are_refused(cfg):
    backbone = MODELS.build({**cfg.model.backbone, 'clip': cfg.model.clip})
    with pytest.raises(TypeError, match=r'got Tensor \(2, 3, 48, 48\).*the config that the cache'):
        backbone(torch.zeros(2, 3, 48, 48))


def test_weights_are_known_by_their_content(cfg, tmp_path: Path):
    clip = dict(cfg.model.clip, pretrained=str(tmp_path / 'renamed.pt'))
    state = torch.load(cfg.model.clip.pretrained, weights_only=True)
    torch.save(state, clip['pretrained'])
    MODELS.build({**cfg.model.backbone, 'clip': clip})
    state['visual.ln_post.bias'][0] += 1e-3
    torch.save(state, clip['pretrained'])
    with pytest.raises(ValueError, match=r"backbone\.weights_sha256 was '\w+', and is '\w+' now"):
        MODELS.build({**cfg.model.backbone, 'clip': clip})
    other = dict(**write_clip(tmp_path), quick_gelu=True)
    with pytest.raises(ValueError, match=r'backbone\.image_size\.0 was 48, and is 12 now'):
        MODELS.build({**cfg.model.backbone, 'clip': other})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(first_block_residual=False), r'first_block_residual was True, and is False'),
        (dict(clip=dict(quick_gelu=False)), r'backbone\.quick_gelu was True, and is False'),
    ],
)
def test_other_settings_are_refused(cfg, change: dict, message: str):
    clip = {**cfg.model.clip, **change.get('clip', {})}
    with pytest.raises(ValueError, match=message):
        MODELS.build({**cfg.model.backbone, **change, 'clip': clip})


@pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
def test_batches_pass_the_preprocessor(cfg, items, collate):
    done = MODELS.build(cfg.model.data_preprocessor)(collate(items), training=True)
    assert done['inputs'].patches.shape[:2] == (3, 36)
    np.testing.assert_array_equal(
        done['inputs'].patches.half().numpy(), [i['inputs'].patches for i in items]
    )
    np.testing.assert_array_equal(
        done['inputs'].image.half().numpy(), [i['inputs'].image for i in items]
    )
    assert [sample.gt_label.item() for sample in done['data_samples']] == [0, 1, 2]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(mean=[0.0, 0.0, 0.0]), r'data_preprocessor\.mean\.0 was 122\.\d+, and is 0\.0'),
        (dict(to_rgb=False), r'data_preprocessor\.to_rgb was True, and is False'),
        (dict(batch_augments=dict(augments=dict(type='Mixup'))), 'mix pixels'),
    ],
)
def test_other_pixels_are_refused(cfg, change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MODELS.build({**cfg.model.data_preprocessor, **change})


STAGES = ('train', 'val', 'test')


@pytest.fixture
def other(mini_cache, tmp_path: Path) -> Path:
    """A cache of the same form, made without the residual of the first block."""
    return changed(mini_cache.copy(tmp_path), backbone=dict(first_block_residual=False))


def changed(cache: Path, **parts: dict) -> Path:
    file = cache / 'manifest.json'
    manifest = json.loads(file.read_text())
    for name, settings in parts.items():
        manifest[name].update(settings)
    file.write_text(json.dumps(signed(manifest)))
    return cache


def make_runner(mini_cache, cache: Path, stage: str, wrap=lambda dataset: dataset):
    model = mini_cache.load(mini_cache.cache / 'config.py').model
    backbone = MODELS.build({**model.backbone, 'clip': model.clip})
    dataset = wrap(DATASETS.build(mini_cache.dataset(cache=str(cache), source=None)))
    # the other stages' loaders are absent: a hook that looks at the wrong one fails
    loader = {f'{stage}_dataloader': SimpleNamespace(dataset=dataset), 'val_loop': None}
    return SimpleNamespace(model=SimpleNamespace(backbone=backbone), **loader)


def check(runner, stage: str) -> None:
    getattr(HOOKS.build(dict(type='FeatureCacheCheckHook')), f'before_{stage}')(runner)


@pytest.mark.parametrize('stage', STAGES)
def test_one_cache_and_its_copy_pass(mini_cache, tmp_path: Path, stage: str):
    check(make_runner(mini_cache, mini_cache.cache, stage), stage)
    check(make_runner(mini_cache, mini_cache.copy(tmp_path), stage), stage)


@pytest.mark.parametrize(
    ('stage', 'wrap'),
    [
        ('train', lambda dataset: dataset),
        ('val', lambda dataset: ConcatDataset([dataset, dataset])),
        ('test', lambda dataset: EvaluationSets(dict(one=dataset))),
    ],
)
def test_a_cache_of_another_tower_or_preprocessing_is_refused(
    mini_cache, other: Path, tmp_path, stage: str, wrap
):
    message = (
        f'stands for the feature cache {mini_cache.cache}, but a dataset reads {other}, .*'
        'backbone.first_block_residual is True in the first and False in the second'
    )
    with pytest.raises(ValueError, match=message):
        check(make_runner(mini_cache, other, stage, wrap), stage)
    cache = changed(mini_cache.copy(tmp_path / 'more'), data_preprocessor=dict(to_rgb=False))
    with pytest.raises(ValueError, match=r'data_preprocessor\.to_rgb is True in the first'):
        check(make_runner(mini_cache, cache, stage, wrap), stage)


def test_validation_is_checked_before_the_first_step(mini_cache, other: Path):
    runner = make_runner(mini_cache, mini_cache.cache, 'train')
    check(runner, 'train')
    later = make_runner(mini_cache, other, 'val')
    runner.val_loop = SimpleNamespace(dataloader=later.val_dataloader)
    with pytest.raises(ValueError, match='but a dataset reads'):
        check(runner, 'train')


def test_models_on_images_are_left_alone(mini_cache, other: Path):
    runner = make_runner(mini_cache, other, 'test')
    runner.model = SimpleNamespace(backbone=SimpleNamespace())
    check(runner, 'test')

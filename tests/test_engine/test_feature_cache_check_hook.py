"""A loader must read the features of the tower that the model stands for."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmpretrain.registry import DATASETS, HOOKS, MODELS
from torch.utils.data import ConcatDataset

from sotglp_mm.datasets import EvaluationSets
from sotglp_mm.features.format import signed

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

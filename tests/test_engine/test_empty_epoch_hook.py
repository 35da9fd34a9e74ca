"""A run whose epochs are empty is stopped, and told what to set."""

from types import SimpleNamespace

import pytest
import torch
from mini_runs import REPO
from mmengine.config import Config
from mmpretrain.registry import HOOKS
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset


def before_train(images: int, batch_size: int, drop_last: bool = True) -> None:
    dataset = TensorDataset(torch.zeros(images, 1))
    # a sampler of one's own: torch's shuffling one refuses an empty dataset by itself
    loader = DataLoader(
        dataset, batch_size, sampler=SequentialSampler(dataset), drop_last=drop_last
    )
    runner = SimpleNamespace(train_dataloader=loader, epoch=0, iter=0)
    HOOKS.build(dict(type='EmptyEpochHook')).before_train(runner)


@pytest.mark.parametrize(('images', 'batch_size', 'drop_last'), [(8, 8, True), (5, 8, False)])
def test_one_batch_is_enough(images: int, batch_size: int, drop_last: bool):
    before_train(images, batch_size, drop_last)


def test_no_whole_batch_stops_the_run():
    with pytest.raises(
        ValueError,
        match=r'Not a single batch: .*47 images, .*batches of 128, and drop_last=True.*'
        r'train_dataloader\.batch_size.*train_dataloader\.drop_last=False',
    ):
        before_train(images=47, batch_size=128)


def test_no_image_at_all_is_another_message():
    with pytest.raises(ValueError, match=r'has 0 images\. Look at train_dataloader\.dataset'):
        before_train(images=0, batch_size=2, drop_last=False)


def test_every_recipe_has_it():
    cfg = Config.fromfile(REPO / 'configs' / '_base_' / 'default_runtime.py')
    assert 'EmptyEpochHook' in [hook.type for hook in cfg.default_hooks.values()]

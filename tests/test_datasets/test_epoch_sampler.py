"""An item's augmentation belongs to the item: seed, epoch and index, nothing else."""

import pickle
import random

import numpy as np
import pytest
import torch
from mmpretrain.registry import DATA_SAMPLERS

from sotglp_mm.datasets.epoch_sampler import ItemIndex, item_randomness


def draw() -> tuple:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def draw_for(index: int) -> tuple:
    with item_randomness(index):
        return draw()


def test_an_item_draws_the_same_whatever_came_before():
    first = draw_for(ItemIndex(3, epoch=2, seed=1))
    draw()
    assert draw_for(pickle.loads(pickle.dumps(ItemIndex(3, epoch=2, seed=1)))) == first


@pytest.mark.parametrize('other', [(4, 2, 1), (3, 1, 1), (3, 2, 0), (2, 3, 1)])
def test_index_epoch_and_seed_each_count(other: tuple[int, int, int]):
    pairs = zip(draw_for(ItemIndex(*other)), draw_for(ItemIndex(3, 2, 1)))
    assert all(one != another for one, another in pairs)


def test_the_model_draws_as_if_there_had_been_no_item():
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = draw()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    with pytest.raises(OSError), item_randomness(ItemIndex(3)):
        draw()
        raise OSError('an image cannot be read')
    assert draw() == expected


def test_a_plain_index_changes_nothing():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with item_randomness(3):
        assert torch.rand(1) == expected


def test_the_sampler_gives_the_order_of_mmengine_and_the_epoch():
    settings = dict(dataset=range(7), shuffle=True, seed=5)
    ours = DATA_SAMPLERS.build(dict(type='EpochSampler', **settings))
    theirs = DATA_SAMPLERS.build(dict(type='DefaultSampler', **settings))
    for epoch in (0, 3):
        ours.set_epoch(epoch), theirs.set_epoch(epoch)
        items = list(ours)
        assert items == list(theirs)
        assert {(item.epoch, item.seed) for item in items} == {(epoch, 5)}

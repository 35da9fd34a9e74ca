"""Chance that belongs to an item: its augmentation depends on the run's seed, epoch and index."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from mmpretrain.registry import DATA_SAMPLERS

from ..utils.settings import checked_settings


class ItemIndex(int):
    """The index of an item, with the epoch that it is drawn in and the seed of the run.

    Arithmetic gives a plain ``int``. It travels to workers.
    """

    epoch: int
    seed: int

    def __new__(cls, index: int, epoch: int = 0, seed: int = 0) -> 'ItemIndex':
        item = super().__new__(cls, index)
        item.epoch, item.seed = epoch, seed
        return item


@contextmanager
def item_randomness(index: int) -> Iterator[None]:
    """Inside, Python's, NumPy's and torch's CPU generators are those of an :class:`ItemIndex`.

    They depend on its (seed, epoch, index) alone: not on workers, on items before, or on resuming.
    Afterwards the generators are as they were: without workers the model draws from them, too.
    A plain ``int`` changes nothing.
    """
    if not isinstance(index, ItemIndex):
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    words = np.random.SeedSequence((index.seed, index.epoch, int(index))).generate_state(4)
    random.seed(words.tobytes())
    np.random.seed(words)
    # torch.manual_seed would seed the GPU's generators as well, which belong to the model
    torch.default_generator.manual_seed(int.from_bytes(words.tobytes()[:8], 'little'))
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@DATA_SAMPLERS.register_module()
@checked_settings
class EpochSampler(DefaultSampler):
    """MMEngine's ``DefaultSampler``, giving :class:`ItemIndex` instead of ``int``.

    ``FewShotDataset`` and ``CachedFeatureDataset`` then draw an item's augmentation from (seed,
    epoch, index). Other datasets, and those two inside a wrapper that computes with the index
    (``RepeatDataset``, ``ConcatDataset``), see an ``int`` and augment as they always did.
    Arguments are those of ``DefaultSampler``.
    """

    def __iter__(self) -> Iterator[ItemIndex]:
        epoch, seed = self.epoch, self.seed
        return iter([ItemIndex(index, epoch, seed) for index in super().__iter__()])

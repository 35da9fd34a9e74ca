"""A sampler whose indices know their epoch."""

from collections.abc import Iterator

from mmengine.dataset import DefaultSampler
from mmpretrain.registry import DATA_SAMPLERS

from ..utils.settings import checked_settings
from .item_seed import ItemIndex


@DATA_SAMPLERS.register_module()
@checked_settings
class EpochSampler(DefaultSampler):
    """MMEngine's ``DefaultSampler``, giving :class:`ItemIndex` instead of ``int``.

    ``FewShotDataset`` and ``CachedFeatureDataset`` then draw an item's augmentation from (seed,
    epoch, index). Other datasets, and those two inside a wrapper that computes with the index
    (``RepeatDataset``, ``ConcatDataset``), see an ``int`` and augment as they always did.

    Args:
        dataset (Sized): The dataset.
        shuffle (bool): A new order in each epoch. Defaults to True.
        seed (int, optional): Of order and augmentation; MMEngine gives the run's. Defaults to
            None, a random one.
        round_up (bool): Repeat items so that all processes have the same number. Defaults to True.
    """

    def __iter__(self) -> Iterator[ItemIndex]:
        epoch, seed = self.epoch, self.seed
        return iter([ItemIndex(index, epoch, seed) for index in super().__iter__()])

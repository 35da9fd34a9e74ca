"""Batches of cached features on their way to the model."""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.registry import MODELS

from ..structures import ImageFeatures
from ..utils.settings import checked_settings
from .format import check_pinned, read_manifest


def describe_preprocessing(
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    to_rgb: bool = False,
    pad_size_divisor: int = 1,
    pad_value: float = 0,
) -> dict:
    """What ``ClsDataPreprocessor`` does to pixels, with its defaults; plain values."""
    return dict(
        mean=None if mean is None else list(mean),
        std=None if std is None else list(std),
        to_rgb=to_rgb,
        pad_size_divisor=pad_size_divisor,
        pad_value=pad_value,
    )


@MODELS.register_module()
@checked_settings
class CachedFeaturePreprocessor(ClsDataPreprocessor):
    """Stacks cached features and moves them and the labels to the device.

    Args:
        cache (str): Folder of the cache, with its ``manifest.json``.
        to_onehot (bool): As in ``ClsDataPreprocessor``. Defaults to False.
        num_classes (int, optional): As in ``ClsDataPreprocessor``. Defaults to None.
        batch_augments (dict, optional): Must be None: pixels cannot be mixed any more.
        **pixels: What ``ClsDataPreprocessor`` would do to pixels (``mean``, ``std``, ``to_rgb``,
            ``pad_size_divisor``, ``pad_value``); compared with what was done.

    Raises:
        FileNotFoundError: There is no cache.
        ValueError: It was made with other settings, or batch augmentations are asked for.
    """

    def __init__(
        self,
        cache: str,
        to_onehot: bool = False,
        num_classes: int | None = None,
        batch_augments: dict | None = None,
        **pixels: Any,
    ) -> None:
        super().__init__(to_onehot=to_onehot, num_classes=num_classes)
        if batch_augments:
            raise ValueError(
                'CachedFeaturePreprocessor: batch augmentations (mixup, cutmix) mix pixels, and '
                f'a feature cache has none; got {batch_augments}. Leave them out, or train with '
                'the uncached config.'
            )
        pinned = read_manifest(cache)['data_preprocessor']
        check_pinned(cache, 'data_preprocessor', pinned, describe_preprocessing(**pixels))

    def forward(self, data: dict, training: bool = False) -> dict:
        """``inputs`` become :class:`ImageFeatures` (B, P, W) and (B, W), on the device."""
        features = ImageFeatures(*map(_stacked, data['inputs']))
        # the labels are the parent's business; to it, (B, W) is a batch of inputs like any other
        done = super().forward(
            dict(inputs=features.image, data_samples=data.get('data_samples')), training
        )
        patches = self.cast_data(features.patches)
        return dict(done, inputs=ImageFeatures(patches=patches, image=done['inputs']))


def _stacked(part: Any) -> torch.Tensor:
    """MMEngine's ``pseudo_collate`` leaves a list."""
    return part if isinstance(part, torch.Tensor) else torch.stack(list(part))

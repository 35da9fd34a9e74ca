"""The parts of a model that learns from stored features instead of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModule
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.registry import MODELS
from torch import Tensor

from ..clip.load import towers_for_part
from ..clip.towers import HoldsClipTowers
from ..io.json_file import as_json
from ..structures import ImageFeatures
from ..utils.settings import checked_settings
from .format import check_pinned, read_manifest


@MODELS.register_module()
@checked_settings
class CachedFeatureBackbone(HoldsClipTowers, BaseModule):
    """Takes the settings of :class:`OpenCLIPViT`, and the features of a cache instead of images.

    The CLIP is loaded, because neck and head need the rest of it, and its image tower is compared
    with the one that the cache was made with. It never runs.

    Args:
        cache (str): Folder of the cache, with its ``manifest.json``.
        clip (dict, optional): A CLIP of this part's own, ``dict(model_name=..., pretrained=...)``,
            see :func:`load_clip`. Defaults to that of the :class:`CLIPClassifier` around it.
        first_block_residual (bool): As in :class:`OpenCLIPViT`. Defaults to True.
    """

    def __init__(
        self,
        cache: str,
        clip: dict | None = None,
        first_block_residual: bool = True,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        self.feature_cache = Path(cache).expanduser()  # FeatureCacheCheckHook compares it
        pinned = read_manifest(cache)['backbone']
        self.towers = towers_for_part(clip)
        found = self.towers.describe_image_tower(first_block_residual)
        check_pinned(cache, 'backbone', pinned, found)

    def forward(self, features: ImageFeatures | Tensor) -> ImageFeatures:
        """``patches`` (B, P, W) and ``image`` (B, W) in float32; ``TypeError`` if given images."""
        if not isinstance(features, ImageFeatures):
            shape = tuple(getattr(features, 'shape', ()))
            raise TypeError(
                'CachedFeatureBackbone takes the ImageFeatures of a CachedFeatureDataset, got '
                f'{type(features).__name__} {shape}. For images, use the config that the cache '
                'was made from; it loads the same checkpoints.'
            )
        return ImageFeatures(patches=features.patches.float(), image=features.image.float())


def describe_preprocessing(
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    to_rgb: bool = False,
    pad_size_divisor: int = 1,
    pad_value: float = 0,
) -> dict:
    """What ``ClsDataPreprocessor`` does to pixels, with its defaults; plain values."""
    return as_json(locals())


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
        # MMEngine's ``pseudo_collate`` leaves a list
        both = (x if isinstance(x, Tensor) else torch.stack(list(x)) for x in data['inputs'])
        features = ImageFeatures(*both)
        # the labels are the parent's business; to it, (B, W) is a batch of inputs like any other
        done = super().forward(
            dict(inputs=features.image, data_samples=data.get('data_samples')), training
        )
        patches = self.cast_data(features.patches)
        return dict(done, inputs=ImageFeatures(patches=patches, image=done['inputs']))

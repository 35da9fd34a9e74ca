"""In place of the image tower: hands on what it computed once."""

from pathlib import Path

from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor

from ..clip.load import towers_for_part
from ..clip.towers import HoldsClipTowers
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
        init_cfg (dict, optional): As in MMEngine. Defaults to None.

    Raises:
        FileNotFoundError: There is no cache.
        ValueError: It was made with other weights or settings.
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
        """Float32, as the tower gives them.

        Args:
            features: ``patches`` (B, P, W) and ``image`` (B, W), of any float dtype.

        Raises:
            TypeError: These are images, not features.
        """
        if not isinstance(features, ImageFeatures):
            shape = tuple(getattr(features, 'shape', ()))
            raise TypeError(
                'CachedFeatureBackbone takes the ImageFeatures of a CachedFeatureDataset, got '
                f'{type(features).__name__} {shape}. For images, use the config that the cache '
                'was made from; it loads the same checkpoints.'
            )
        return ImageFeatures(patches=features.patches.float(), image=features.image.float())

"""From the image tower's width to the joint space of images and texts."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..clip.load import towers_for_part
from ..clip.towers import HoldsClipTowers
from ..structures import ImageFeatures
from ..utils.settings import checked_settings
from .learned_state import LoadsWholeState


@MODELS.register_module()
@checked_settings
class LocalProjectionNeck(HoldsClipTowers, LoadsWholeState, BaseModule):
    """Projects the image embedding, and the patches through a learnable map before it.

    ``image = normalise(cls @ proj)``, ``patches = normalise(patches @ A^T @ proj)`` with CLIP's
    frozen ``proj`` and a square ``A`` that starts as the identity. A learned ``A`` fits the
    task; without it ("projection-free") patches keep CLIP's geometry, which the paper finds
    better for detecting out-of-distribution images.

    Args:
        clip (dict, optional): A CLIP of this part's own, ``dict(model_name=..., pretrained=...)``,
            see :func:`load_clip`. Defaults to that of the :class:`CLIPClassifier` around it.
        learn (bool): Learn ``A``, the parameter ``local_projection.weight`` (W, W). If False there
            is no such parameter. Defaults to True.
    """

    def __init__(self, clip: dict | None = None, learn: bool = True, init_cfg: dict | None = None):
        super().__init__(init_cfg=init_cfg)
        self.towers = towers_for_part(clip)
        self.local_projection = None
        if learn:
            width = self.towers.image.width
            self.local_projection = nn.Linear(width, width, bias=False)
            nn.init.eye_(self.local_projection.weight)

    def forward(self, feats: ImageFeatures | Sequence[Tensor]) -> ImageFeatures:
        """Project and normalise: ``patches`` (B, P, D) and ``image`` (B, D), float32.

        Args:
            feats: ``patches`` (B, P, W) and ``image`` (B, W), from the image tower; or a tuple
                that ends in tokens (B, 1 + P, W), the class token first, as MMPretrain's
                ``VisionTransformer`` gives with ``out_type='raw'``. Its weights should be those
                of the CLIP, whose projection follows.

        Raises:
            TypeError: There are no patches of this CLIP's number and width, as behind a ResNet.
        """
        patches, image = self._split(feats)
        if self.local_projection is not None:
            patches = self.local_projection(patches)
        project = self.towers.image.project
        return ImageFeatures(
            # unit length in float32: in half precision it is off by a thousandth, times s = 100
            patches=F.normalize(project(patches).float(), dim=-1),
            image=F.normalize(project(image).float(), dim=-1),
        )

    def _split(self, feats: Any) -> ImageFeatures:
        tower = self.towers.image
        if isinstance(feats, ImageFeatures) and feats.image.shape[-1] == tower.width:
            return feats
        last = feats[-1] if isinstance(feats, Sequence) and feats else feats
        shape = tuple(getattr(last, 'shape', ()))
        if shape[1:] == (1 + tower.num_patches, tower.width):
            return ImageFeatures(last[:, 1:], last[:, 0])
        raise TypeError(
            f'LocalProjectionNeck got {type(feats).__name__} that ends in {shape}; expected the '
            f'ImageFeatures of OpenCLIPViT, or tokens (B, {1 + tower.num_patches}, {tower.width}) '
            "with the class token first: of MMPretrain's VisionTransformer, set out_type='raw' "
            'and the size of this CLIP. Other backbones, ResNet for one, have no such tokens.'
        )

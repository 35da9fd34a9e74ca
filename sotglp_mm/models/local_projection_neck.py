"""From the image tower's width to the joint space of images and texts."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import nn

from ..clip.towers import HoldsClipTowers, build_towers
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
        clip (dict): ``dict(model_name=..., pretrained=...)``, see :func:`load_clip`.
        learn (bool): Learn ``A``, the parameter ``local_projection.weight`` (W, W). If False there
            is no such parameter. Defaults to True.
        init_cfg (dict, optional): As in MMEngine. Defaults to None.
    """

    def __init__(self, clip: dict, learn: bool = True, init_cfg: dict | None = None):
        super().__init__(init_cfg=init_cfg)
        self.towers = build_towers(clip)
        self.local_projection = None
        if learn:
            width = self.towers.vision_width
            self.local_projection = nn.Linear(width, width, bias=False)
            nn.init.eye_(self.local_projection.weight)

    def forward(self, feats: ImageFeatures) -> ImageFeatures:
        """Project and normalise.

        Args:
            feats: ``patches`` (B, P, W) and ``image`` (B, W), from the image tower.

        Returns:
            ImageFeatures: ``patches`` (B, P, D) and ``image`` (B, D), float32, unit length.
        """
        patches, image = feats
        if self.local_projection is not None:
            patches = self.local_projection(patches)
        projection = self.towers.visual.proj
        return ImageFeatures(
            # unit length in float32: in half precision it is off by a thousandth, times s = 100
            patches=F.normalize((patches @ projection).float(), dim=-1),
            image=F.normalize((image @ projection).float(), dim=-1),
        )

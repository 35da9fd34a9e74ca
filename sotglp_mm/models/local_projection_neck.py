"""From the image tower's width to the joint space of images and texts."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import nn

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
        init_cfg (dict, optional): As in MMEngine. Defaults to None.
    """

    def __init__(self, clip: dict | None = None, learn: bool = True, init_cfg: dict | None = None):
        super().__init__(init_cfg=init_cfg)
        self.towers = towers_for_part(clip)
        self.local_projection = None
        if learn:
            width = self.towers.image.width
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
        project = self.towers.image.project
        return ImageFeatures(
            # unit length in float32: in half precision it is off by a thousandth, times s = 100
            patches=F.normalize(project(patches).float(), dim=-1),
            image=F.normalize(project(image).float(), dim=-1),
        )

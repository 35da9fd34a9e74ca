"""The frozen image tower with its ordinary and its value-value stream."""

from typing import Any

from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor

from ..clip.load import towers_for_part
from ..clip.towers import HoldsClipTowers
from ..structures import ImageFeatures
from ..utils.settings import checked_settings


@MODELS.register_module()
@checked_settings
class OpenCLIPViT(HoldsClipTowers, BaseModule):
    """An open_clip ViT that also collects the V-V attention of every block.

    The ordinary stream gives the image embedding, exactly as open_clip computes it. The second
    stream starts as the input of block 0 and adds up the value-value attention of all blocks,
    without any MLP; its tokens keep speaking of what lies on each patch. Both run in one pass.

    Frozen: it has no parameters of its own, builds no autograd graph, and stays in eval mode.

    Args:
        clip (dict, optional): A CLIP of this part's own, ``dict(model_name=..., pretrained=...)``,
            see :func:`load_clip`. Defaults to that of the :class:`CLIPClassifier` around it.
        first_block_residual (bool): Also add block 0's ordinary attention to the V-V stream. The
            paper does not describe this, but its released program does it (an in-place addition
            on an aliased tensor), and the published numbers were made with it. It changes the
            patch features by about a quarter of their norm. Defaults to True.
    """

    def __init__(
        self, clip: dict | None = None, first_block_residual: bool = True, init_cfg: Any = None
    ):
        super().__init__(init_cfg=init_cfg)
        self.towers = towers_for_part(clip)
        self.first_block_residual = first_block_residual

    def forward(self, images: Tensor) -> ImageFeatures:
        """Both streams of images (B, 3, H, W), normalised, of the tower's image size.

        ``patches`` (B, P, W) and ``image`` (B, W), after ``ln_post``, before any projection.
        """
        return self.towers.image.forward(images, self.first_block_residual)

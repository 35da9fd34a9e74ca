"""The frozen image tower with its ordinary and its value-value stream."""

from typing import Any

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor

from ..clip.towers import HoldsClipTowers, build_towers
from ..functional import dual_attention
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
        clip (dict): ``dict(model_name=..., pretrained=...)``, see :func:`load_clip`.
        first_block_residual (bool): Also add block 0's ordinary attention to the V-V stream. The
            paper does not describe this, but its released program does it (an in-place addition
            on an aliased tensor), and the published numbers were made with it. It changes the
            patch features by about a quarter of their norm. Defaults to True.
        init_cfg (dict, optional): As in MMEngine. Defaults to None.
    """

    def __init__(
        self, clip: dict, first_block_residual: bool = True, init_cfg: dict | None = None
    ):
        super().__init__(init_cfg=init_cfg)
        self.towers = build_towers(clip)
        self.first_block_residual = first_block_residual

    @torch.no_grad()
    def forward(self, images: Tensor) -> ImageFeatures:
        """Both streams.

        Args:
            images: (B, 3, H, W), normalised, of the tower's image size.

        Returns:
            ImageFeatures: ``patches`` (B, P, W) and ``image`` (B, W), after ``ln_post``, before
            any projection.

        Raises:
            ValueError: The images are not of the tower's size.
        """
        visual = self.towers.visual
        self._check_size(images)
        x = visual._embeds(images)
        z = x[:, 1:]
        blocks = visual.transformer.resblocks
        for index, block in enumerate(blocks):
            last = index == len(blocks) - 1
            attended, collected = dual_attention(block.ln_1(x), block.attn, class_token_only=last)
            attended, collected = block.ls_1(attended), block.ls_1(collected)
            z = z + collected
            if index == 0 and self.first_block_residual:
                # of a tower with a single block, the last one, every row is needed here
                z = z + (self._ordinary(block, x) if last else attended)[:, 1:]
            x = (x[:, :1] if last else x) + attended
            x = x + block.ls_2(block.mlp(block.ln_2(x)))
        return ImageFeatures(patches=visual.ln_post(z), image=visual.ln_post(x[:, 0]))

    @staticmethod
    def _ordinary(block: Any, x: Tensor) -> Tensor:
        return block.ls_1(dual_attention(block.ln_1(x), block.attn)[0])

    def _check_size(self, images: Tensor) -> None:
        expected = tuple(self.towers.visual.image_size)
        if images.ndim != 4 or tuple(images.shape[-2:]) != expected:
            raise ValueError(
                f'OpenCLIPViT got images of shape {tuple(images.shape)}; this CLIP takes '
                f'(B, 3, {expected[0]}, {expected[1]}). Set the crop size of the pipeline so.'
            )

"""CLIP's frozen image tower: its ordinary stream, its value-value stream, its projection."""

import math

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor

from ..functional import dual_attention
from ..structures import ImageFeatures


class ImageTower:
    """What the rest of the package needs of an open_clip ViT, frozen, in eval mode."""

    def __init__(self, visual: VisionTransformer) -> None:
        self._visual = visual

    @property
    def width(self) -> int:
        """W."""
        return self._visual.transformer.width

    @property
    def joint_width(self) -> int:
        """D."""
        return self._visual.output_dim

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return tuple(self._visual.image_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return tuple(self._visual.grid_size)

    @property
    def num_patches(self) -> int:
        """P."""
        return math.prod(self.grid)

    @property
    def num_heads(self) -> list[int]:
        """Attention heads of each block."""
        return [block.attn.num_heads for block in self._visual.transformer.resblocks]

    @torch.no_grad()
    def forward(self, images: Tensor, first_block_residual: bool = True) -> ImageFeatures:
        """Both streams in one pass, see :meth:`OpenCLIPViT.forward`."""
        if images.ndim != 4 or tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f'OpenCLIPViT got images of shape {tuple(images.shape)}; this CLIP takes '
                f'(B, 3, {self.image_size[0]}, {self.image_size[1]}). Set the crop size of the '
                'pipeline so.'
            )
        visual = self._visual
        x = visual._embeds(images)
        z = x[:, 1:]
        blocks = visual.transformer.resblocks
        for index, block in enumerate(blocks):
            last = index == len(blocks) - 1
            normed = block.ln_1(x)
            attended, collected = dual_attention(normed, block.attn, class_token_only=last)
            attended, collected = block.ls_1(attended), block.ls_1(collected)
            z = z + collected
            if index == 0 and first_block_residual:
                # of a tower with a single block, the last one, every row is needed here
                rows = block.ls_1(dual_attention(normed, block.attn)[0]) if last else attended
                z = z + rows[:, 1:]
            x = (x[:, :1] if last else x) + attended
            x = x + block.ls_2(block.mlp(block.ln_2(x)))
        return ImageFeatures(patches=visual.ln_post(z), image=visual.ln_post(x[:, 0]))

    def project(self, features: Tensor) -> Tensor:
        """(..., W) to the joint space of images and texts, (..., D); not normalised."""
        return features @ self._visual.proj

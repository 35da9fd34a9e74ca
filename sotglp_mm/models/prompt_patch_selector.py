"""A support for every prompt of its own, as GalLoP has it."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor

from ..functional.patch_support import select_support
from ..utils.settings import checked_settings
from .sparse_patch_selector import CHUNK_NUMBERS, at_least_float32


@MODELS.register_module()
@checked_settings
class PromptPatchSelector(BaseModule):
    """Chooses, for each image, class and prompt, the patches most similar to that prompt.

    Supports of a class's prompts may overlap: what :class:`SparsePatchSelector` and optimal
    transport are there to prevent. GalLoP's are of several sizes.

    Args:
        k (int | Sequence[int]): Patches of each prompt; with several sizes, the largest is
            selected, best first, and ``UniformAllocationLoss(k=...)`` looks at the first ones of
            each prompt. Defaults to (5, 10, 15, 20).
        init_cfg (dict, optional): As in MMEngine. Defaults to None.

    Raises:
        ValueError: A number is not positive.
    """

    def __init__(self, k: int | Sequence[int] = (5, 10, 15, 20), init_cfg: dict | None = None):
        super().__init__(init_cfg=init_cfg)
        sizes = [k] if isinstance(k, int) else list(k)
        if any(type(size) is not int or size < 1 for size in sizes):
            raise ValueError(f'PromptPatchSelector: k must be at least 1, got {k}')
        self.k = max(sizes)

    def forward(self, patches: Tensor, prompts: Tensor) -> Tensor:
        """Select.

        Args:
            patches: (B, P, D), unit length.
            prompts: (C, N, D), unit length.

        Returns:
            Tensor: int64 (B, C, K, N), indices of patches, best first. Carries no gradient.

        Raises:
            ValueError: The images have fewer than K patches.
        """
        patches, prompts = at_least_float32(patches), at_least_float32(prompts)
        num_images, num_patches = patches.shape[:2]
        num_classes, num_prompts = prompts.shape[:2]
        per_prompt = max(num_images * num_patches, 1)
        with torch.autocast(patches.device.type, enabled=False):
            supports = [
                select_support(patches @ texts.T, self.k)
                for texts in prompts.flatten(0, 1).split(max(CHUNK_NUMBERS // per_prompt, 1))
            ]
        support = torch.cat(supports, dim=1)
        return support.view(num_images, num_classes, num_prompts, self.k).transpose(2, 3)

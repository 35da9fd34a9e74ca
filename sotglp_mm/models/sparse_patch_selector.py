"""The shared sparse support of every class, as a registered part."""

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor

from ..functional.patch_support import RANKS, rank_patches, select_support
from ..utils.settings import checked_settings

CHUNK_NUMBERS = 2**22
"""Similarities that are held at a time, beside some integers made of them (100 MB in all)."""


@MODELS.register_module()
@checked_settings
class SparsePatchSelector(BaseModule):
    """Chooses, for each image and class, the K patches that all prompts of the class share.

    Args:
        k (int | str): K, patches per image and class; ``'all'``: no selection, as in PLOT (the
            similarities of all patches and prompts are then held). Defaults to 10.
        rank (str): How a patch's similarities to the N prompts become the number it is ranked
            by: ``'mean'`` (the paper), ``'max'`` or ``'logsumexp'``; see :func:`rank_patches`.
            Defaults to 'mean'.
        init_cfg (dict, optional): As in MMEngine. Defaults to None.

    Raises:
        ValueError: ``k`` is not positive or ``rank`` not known.
    """

    def __init__(self, k: int | str = 10, rank: str = 'mean', init_cfg: dict | None = None):
        super().__init__(init_cfg=init_cfg)
        if k != 'all' and (type(k) is not int or k < 1):
            raise ValueError(f"SparsePatchSelector: k must be at least 1, or 'all', got {k!r}")
        if rank not in RANKS:
            raise ValueError(
                f'SparsePatchSelector: rank={rank!r} is not known; choose one of {RANKS}'
            )
        self.k = k
        self.rank = rank

    def forward(self, patches: Tensor, prompts: Tensor) -> Tensor:
        """Select.

        Args:
            patches: (B, P, D), unit length.
            prompts: (C, N, D), unit length.

        Returns:
            Tensor: int64 (B, C, K), indices of patches. Carries no gradient.

        Raises:
            ValueError: The images have fewer than K patches.
        """
        patches, prompts = at_least_float32(patches), at_least_float32(prompts)
        num_images, num_patches = patches.shape[:2]
        if isinstance(self.k, str):  # 'all'
            every = torch.arange(num_patches, device=patches.device)
            return every.expand(num_images, len(prompts), -1)
        ranked_by = 1 if self.rank == 'mean' else prompts.shape[1]
        per_class = max(num_images * num_patches * ranked_by, 1)
        with torch.autocast(patches.device.type, enabled=False):  # bfloat16 ties what differs
            supports = [
                select_support(rank_patches(patches, texts, self.rank), self.k)
                for texts in prompts.split(max(CHUNK_NUMBERS // per_class, 1))
            ]
        return torch.cat(supports, dim=1)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Detached, and precise enough to rank by."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))

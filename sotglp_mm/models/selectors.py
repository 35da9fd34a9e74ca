"""Which patches speak for a class: one support for all its prompts, or one for each."""

from collections.abc import Callable, Sequence

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor

from ..functional.exporting import is_exporting
from ..functional.patch_support import RANKS, rank_patches, select_support
from ..utils.settings import check_choice, checked_settings

CHUNK_NUMBERS = 2**20
"""Similarities that are held at a time, beside some integers made of them (25 MB in all): about
what stays in a processor's cache, and too small to be given back to the system each time."""


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
    """

    def __init__(self, k: int | str = 10, rank: str = 'mean', init_cfg: dict | None = None):
        super().__init__(init_cfg=init_cfg)
        if k != 'all' and (type(k) is not int or k < 1):
            raise ValueError(f"SparsePatchSelector: k must be at least 1, or 'all', got {k!r}")
        check_choice('SparsePatchSelector', 'rank', rank, RANKS)
        self.k = k
        self.rank = rank

    def forward(self, patches: Tensor, prompts: Tensor) -> Tensor:
        """Select for unit patches (B, P, D) and prompts (C, N, D).

        Returns:
            Tensor: int64 (B, C, K), indices of patches. Carries no gradient.
        """
        if isinstance(self.k, str):  # 'all'
            every = torch.arange(patches.shape[1], device=patches.device)
            return every.expand(patches.shape[0], len(prompts), -1)
        ranked_by = 1 if self.rank == 'mean' else prompts.shape[1]
        return _select_in_chunks(
            patches, prompts, self.k, ranked_by, lambda p, texts: rank_patches(p, texts, self.rank)
        )


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
    """

    def __init__(self, k: int | Sequence[int] = (5, 10, 15, 20), init_cfg: dict | None = None):
        super().__init__(init_cfg=init_cfg)
        sizes = [k] if isinstance(k, int) else list(k)
        if any(type(size) is not int or size < 1 for size in sizes):
            raise ValueError(f'PromptPatchSelector: k must be at least 1, got {k}')
        self.k = max(sizes)

    def forward(self, patches: Tensor, prompts: Tensor) -> Tensor:
        """Select; arguments as in :class:`SparsePatchSelector`.

        Returns:
            Tensor: int64 (B, C, K, N), indices of patches, best first. Carries no gradient.
        """
        support = _select_in_chunks(
            patches, prompts.flatten(0, 1)[:, None], self.k, 1, rank_patches
        )
        return support.unflatten(1, prompts.shape[:2]).transpose(2, 3)


def _select_in_chunks(
    patches: Tensor, texts: Tensor, k: int, numbers: int, rank: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The K best patches of each image for each text; ``rank`` holds ``numbers`` of each pair."""
    patches, texts = _at_least_float32(patches), _at_least_float32(texts)
    images, parts = [patches], [texts]
    if not is_exporting():
        of_class = patches.shape[1] * numbers
        classes = min(max(CHUNK_NUMBERS // max(of_class, 1), 1), max(len(texts), 1))
        images = list(patches.split(max(CHUNK_NUMBERS // max(of_class * classes, 1), 1)))
        parts = list(texts.split(classes))
    with torch.autocast(patches.device.type, enabled=False):  # bfloat16 ties what differs
        supports = [
            torch.cat([select_support(rank(some, part), k) for part in parts], dim=1)
            for some in images
        ]
    return torch.cat(supports)


def _at_least_float32(tensor: Tensor) -> Tensor:
    """Detached, and precise enough to rank by."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))

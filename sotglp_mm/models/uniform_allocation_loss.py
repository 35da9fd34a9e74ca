"""Patches divided evenly: what optimal transport is to be compared with."""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from ..structures import TransportPlan
from ..utils.settings import checked_settings
from .allocation_loss import AllocationLoss


@MODELS.register_module()
@checked_settings
class UniformAllocationLoss(AllocationLoss):
    """The same part of every patch for every prompt: a plan that does not look.

    With ``k`` of several sizes, prompt n shares only its first ``k[n]`` patches, best first: the
    mean over each prompt's own top-k, as in GalLoP [Lafon24]_. Use it behind
    :class:`PromptPatchSelector` with the same ``k``.

    .. [Lafon24] M. Lafon et al., "GalLoP: Learning global and local prompts for vision-language
       models", ECCV 2024.

    Args:
        k (int | Sequence[int], optional): Patches of each prompt, at most K; one number for
            each of the N prompts, or one for all. Defaults to all K.
        **kwargs: As in :class:`AllocationLoss`: ``reduction``, ``loss_weight``, ``init_cfg``.

    Raises:
        ValueError: A number is not positive; later, there are not N of them, or one is over K.
    """

    def __init__(self, k: int | Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k is not None and min([k] if isinstance(k, int) else k) < 1:
            raise ValueError(f'UniformAllocationLoss: k must be at least 1, got {k}')
        self.k = k

    @torch.no_grad()
    def plan(self, similarity: Tensor) -> TransportPlan:
        """The plan (..., K, N) that depends on the shape of ``similarity`` alone."""
        num_patches, num_prompts = similarity.shape[-2:]
        k = num_patches if self.k is None else self.k
        numbers = [k] * num_prompts if isinstance(k, int) else list(k)
        if len(numbers) != num_prompts or max(numbers) > num_patches:
            raise ValueError(
                f'UniformAllocationLoss: k={self.k} does not fit {num_patches} selected patches '
                f'and {num_prompts} prompts; give one number, at most {num_patches}, for each '
                'prompt, and the same k to the selector'
            )
        sizes = torch.tensor(numbers, device=similarity.device)
        taken = torch.arange(num_patches, device=similarity.device)[:, None] < sizes
        plan = (taken / (sizes * num_prompts)).float().expand(similarity.shape)
        error = (plan.sum(dim=-1) - 1 / num_patches).abs().sum(dim=-1)
        return TransportPlan(plan, error <= 1e-2, error, 0)

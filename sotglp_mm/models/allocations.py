"""How selected patches are divided among a class's prompts: scores, prediction and loss."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor

from ..functional import TOLERANCE, capped_sinkhorn, local_scores, sinkhorn, transport_cost
from ..functional.exporting import is_exporting
from ..functional.local_score import REDUCTIONS
from ..functional.sinkhorn import check_epsilon
from ..structures import TransportPlan
from ..utils.settings import check_choice, checked_settings

MIN_CONVERGED = 0.9
"""Part of the plans that should converge; below it the log says so, once, in evaluation."""


class AllocationLoss(BaseModule):
    """Local scores, and their cross entropy; a derived class says how patches are divided.

    The scores also decide the local branch's predictions. A new rule implements :meth:`plan`.

    Args:
        reduction (str): ``'mean'``: ``<T, L> / N``, as released; ``'sum'``: ``<T, L>``, on the
            scale of the global score. Defaults to 'mean'.
        loss_weight (float): Defaults to 1.0.
    """

    def __init__(
        self, reduction: str = 'mean', loss_weight: float = 1.0, init_cfg: dict | None = None
    ):
        super().__init__(init_cfg=init_cfg)
        check_choice(type(self).__name__, 'reduction', reduction, REDUCTIONS)
        self.reduction = reduction
        self.loss_weight = loss_weight

    def plan(self, similarity: Tensor) -> TransportPlan:
        """How the patches are divided, from cosines (..., K, N); a constant for the gradient."""
        raise NotImplementedError

    def scores(self, similarity: Tensor) -> Tensor:
        """Local scores Sl (B, C) of ``similarity`` (B, C, K, N)."""
        return local_scores(self.plan(similarity).plan, similarity, self.reduction)

    def forward(self, scores: Tensor, target: Tensor, logit_scale: Tensor | float) -> Tensor:
        """``CE(s * Sl, y)``, the mean over the batch, times ``loss_weight``.

        Args:
            scores: Sl (B, C).
            target: int64 (B,) labels, or (B, C) class probabilities (mixup).
            logit_scale: s.
        """
        return self.loss_weight * F.cross_entropy(logit_scale * scores, target)


@MODELS.register_module()
@checked_settings
class OTAllocationLoss(AllocationLoss):
    """Balanced entropic transport between K patches and N prompts.

    Beside the loss, it decides the local scores of predictions. The plan is a constant for the
    gradient. It is computed in float32 under any autocast, each image and class on its own, so
    that a prediction does not depend on its batch.

    Args:
        epsilon (float): Weight of the entropy, in units of ``1 - cosine``. Defaults to 0.1.
        max_iters (int): Sinkhorn iterations. Defaults to 20.
        tolerance (float, optional): Stop a problem once its patch marginals are met to this (sum
            of absolute differences). By default all iterations are made. (The released program
            stops the whole batch at once, by a mean over it: then predictions depend on which
            images share the batch.) Defaults to None.
        relative (bool): Measure ``epsilon`` in standard deviations of a problem's K x N
            similarities instead: the plan is then as decided for a tower whose cosines hardly
            differ. Defaults to False.
        **kwargs: As in :class:`AllocationLoss`: ``reduction``, ``loss_weight``.
    """

    def __init__(
        self,
        epsilon: float = 0.1,
        max_iters: int = 20,
        tolerance: float | None = None,
        relative: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_epsilon('OTAllocationLoss', epsilon, max_iters)
        self.epsilon = epsilon
        self.max_iters = max_iters
        self.tolerance = tolerance
        self.relative = relative
        self._looked = False

    @torch.no_grad()
    def plan(self, similarity: Tensor) -> TransportPlan:
        cost = transport_cost(similarity)
        cost_range = None if self.relative else 2.0
        if self.relative:
            spread = cost.float().std(dim=(-2, -1), correction=0, keepdim=True)
            cost = cost / spread.clamp_min(torch.finfo(torch.float32).eps)
        solved = sinkhorn(cost, self.epsilon, self.max_iters, self.tolerance, cost_range)
        # once: a look makes a GPU wait
        if not (self.training or self._looked or is_exporting()):
            self._looked = True
            converged = float(solved.converged.float().mean())
            if converged < MIN_CONVERGED:
                print_log(
                    f'OTAllocationLoss: {1 - converged:.0%} of the plans of the first batch have '
                    f'not converged in max_iters={self.max_iters} iterations at '
                    f'epsilon={self.epsilon}: patches give more or less than their share. Take '
                    'more iterations, or a larger epsilon',
                    logger='current',
                    level=logging.WARNING,
                )
        return solved


@MODELS.register_module()
@checked_settings
class CappedAllocationLoss(AllocationLoss):
    """Transport chooses among the K candidates about ``capacity`` patches, and divides them.

    Balanced transport must use every selected patch evenly, the last one too. Here a patch gives
    at most ``1 / capacity`` of the mass, and may give nothing.

    Args:
        capacity (float): In patches, at most K. Defaults to 10.
        epsilon (float): Weight of the entropy, in units of ``1 - cosine``. Defaults to 0.1.
        max_iters (int): Iterations. Defaults to 50.
        **kwargs: As in :class:`AllocationLoss`: ``reduction``, ``loss_weight``.
    """

    def __init__(
        self, capacity: float = 10, epsilon: float = 0.1, max_iters: int = 50, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_epsilon('CappedAllocationLoss', epsilon, max_iters)
        if not capacity > 0:
            raise ValueError(f'CappedAllocationLoss: capacity must be > 0, got {capacity}')
        self.capacity = capacity
        self.epsilon = epsilon
        self.max_iters = max_iters

    @torch.no_grad()
    def plan(self, similarity: Tensor) -> TransportPlan:
        cost = transport_cost(similarity)
        return capped_sinkhorn(cost, self.capacity, self.epsilon, self.max_iters)


@MODELS.register_module()
@checked_settings
class UniformAllocationLoss(AllocationLoss):
    """The same part of every patch for every prompt: what transport is compared with.

    With ``k`` of several sizes, prompt n shares only its first ``k[n]`` patches, best first: the
    mean over each prompt's own top-k, as in GalLoP [Lafon24]_. Use it behind
    :class:`PromptPatchSelector` with the same ``k``.

    .. [Lafon24] M. Lafon et al., "GalLoP: Learning global and local prompts for vision-language
       models", ECCV 2024.

    Args:
        k (int | Sequence[int], optional): Patches of each prompt, at most K; one number for
            each of the N prompts, or one for all. Defaults to all K.
        **kwargs: As in :class:`AllocationLoss`: ``reduction``, ``loss_weight``.
    """

    def __init__(self, k: int | Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k is not None and min([k] if isinstance(k, int) else k) < 1:
            raise ValueError(f'UniformAllocationLoss: k must be at least 1, got {k}')
        self.k = k

    @torch.no_grad()
    def plan(self, similarity: Tensor) -> TransportPlan:
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
        return TransportPlan(plan, error <= TOLERANCE, error, 0)

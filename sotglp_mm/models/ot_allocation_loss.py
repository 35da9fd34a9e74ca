"""Optimal transport divides the selected patches among a class's prompts."""

import logging
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.registry import MODELS
from torch import Tensor

from ..functional import sinkhorn, transport_cost
from ..functional.sinkhorn import check_epsilon
from ..structures import TransportPlan
from ..utils.settings import checked_settings
from .allocation_loss import AllocationLoss, ot_allocation_loss

__all__ = ['OTAllocationLoss', 'ot_allocation_loss']


ENOUGH = 0.9
"""Part of the plans that should have converged; else a run is told, once, in its evaluation."""


@MODELS.register_module()
@checked_settings
class OTAllocationLoss(AllocationLoss):
    """Balanced entropic transport between K patches and N prompts, and the loss on its scores.

    The plan is a constant for the gradient. It is computed in float32 under any autocast, each
    image and class on its own, so that a prediction does not depend on its batch.

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
        **kwargs: As in :class:`AllocationLoss`: ``reduction``, ``loss_weight``, ``init_cfg``.

    Raises:
        ValueError: A setting is out of its range.
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
        check_epsilon('OTAllocationLoss', epsilon, torch.float32)
        if max_iters < 1:
            raise ValueError(f'OTAllocationLoss: max_iters must be at least 1, got {max_iters}')
        self.epsilon = epsilon
        self.max_iters = max_iters
        self.tolerance = tolerance
        self.relative = relative
        self._looked = False

    @torch.no_grad()
    def plan(self, similarity: Tensor) -> TransportPlan:
        """How the patches are divided.

        Args:
            similarity: (..., K, N), cosines of selected patches and prompts.
        """
        cost = transport_cost(similarity)
        if self.relative:
            spread = cost.float().std(dim=(-2, -1), correction=0, keepdim=True)
            cost = cost / spread.clamp_min(torch.finfo(torch.float32).eps)
        found = sinkhorn(cost, self.epsilon, self.max_iters, self.tolerance)
        if not self.training and not self._looked:  # once: a look makes a GPU wait
            self._looked = True
            self._warn(float(found.converged.float().mean()))
        return found

    def _warn(self, converged: float) -> None:
        if converged < ENOUGH:
            print_log(
                f'OTAllocationLoss: {1 - converged:.0%} of the plans of the first batch have not '
                f'converged in max_iters={self.max_iters} iterations at epsilon={self.epsilon}: '
                'patches give more or less than their share. Take more iterations, or a larger '
                'epsilon',
                logger='current',
                level=logging.WARNING,
            )

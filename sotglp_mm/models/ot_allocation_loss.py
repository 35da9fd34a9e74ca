"""Optimal transport divides the selected patches among a class's prompts."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor

from ..functional import local_scores, sinkhorn, transport_cost
from ..functional.local_score import REDUCTIONS
from ..settings import checked_settings
from ..structures import TransportPlan


def ot_allocation_loss(scores: Tensor, target: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Cross entropy of the local scores, ``CE(s * Sl, y)``.

    Args:
        scores: (B, C), transported similarities.
        target: int64 (B,) labels, or (B, C) class probabilities (mixup).
        logit_scale: s.

    Returns:
        Tensor: A scalar, the mean over the batch.
    """
    return F.cross_entropy(logit_scale * scores, target)


@MODELS.register_module()
@checked_settings
class OTAllocationLoss(BaseModule):
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
        reduction (str): ``'mean'``: ``<T, L> / N``, as released; ``'sum'``: ``<T, L>``, on the
            scale of the global score. Defaults to 'mean'.
        loss_weight (float): Defaults to 1.0.
        init_cfg (dict, optional): As in MMEngine. Defaults to None.

    Raises:
        ValueError: A setting is out of its range.
    """

    def __init__(
        self,
        epsilon: float = 0.1,
        max_iters: int = 20,
        tolerance: float | None = None,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        if not epsilon > 0:
            raise ValueError(f'OTAllocationLoss: epsilon must be > 0, got {epsilon}')
        if max_iters < 1:
            raise ValueError(f'OTAllocationLoss: max_iters must be at least 1, got {max_iters}')
        if reduction not in REDUCTIONS:
            raise ValueError(
                f'OTAllocationLoss: reduction={reduction!r} is not known; '
                f'choose one of {REDUCTIONS}'
            )
        self.epsilon = epsilon
        self.max_iters = max_iters
        self.tolerance = tolerance
        self.reduction = reduction
        self.loss_weight = loss_weight

    @torch.no_grad()
    def plan(self, similarity: Tensor) -> TransportPlan:
        """How the patches are divided.

        Args:
            similarity: (..., K, N), cosines of selected patches and prompts.
        """
        return sinkhorn(transport_cost(similarity), self.epsilon, self.max_iters, self.tolerance)

    def scores(self, similarity: Tensor) -> Tensor:
        """Local scores Sl.

        Args:
            similarity: (B, C, K, N), cosines of selected patches and prompts.

        Returns:
            Tensor: (B, C).
        """
        return local_scores(self.plan(similarity).plan, similarity, self.reduction)

    def forward(self, scores: Tensor, target: Tensor, logit_scale: Tensor | float) -> Tensor:
        """The weighted loss; arguments as in :func:`ot_allocation_loss`."""
        return self.loss_weight * ot_allocation_loss(scores, target, logit_scale)

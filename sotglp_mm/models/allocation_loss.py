"""What every way of dividing patches among prompts shares: scores and loss."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from ..functional import local_scores
from ..functional.local_score import REDUCTIONS
from ..structures import TransportPlan


class AllocationLoss(BaseModule):
    """Cross entropy of local scores; a derived class says how patches are divided (``plan``).

    Args:
        reduction (str): ``'mean'``: ``<T, L> / N``, as released; ``'sum'``: ``<T, L>``, on the
            scale of the global score. Defaults to 'mean'.
        loss_weight (float): Defaults to 1.0.
        init_cfg (dict, optional): As in MMEngine. Defaults to None.

    Raises:
        ValueError: ``reduction`` is not known.
    """

    def __init__(
        self, reduction: str = 'mean', loss_weight: float = 1.0, init_cfg: dict | None = None
    ):
        super().__init__(init_cfg=init_cfg)
        if reduction not in REDUCTIONS:
            raise ValueError(
                f'{type(self).__name__}: reduction={reduction!r} is not known; '
                f'choose one of {REDUCTIONS}'
            )
        self.reduction = reduction
        self.loss_weight = loss_weight

    def plan(self, similarity: Tensor) -> TransportPlan:
        """How the patches are divided; a constant for the gradient.

        Args:
            similarity: (..., K, N), cosines of selected patches and prompts.
        """
        raise NotImplementedError

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

"""Patches that serve no prompt may stay out: transport with a capacity for each patch."""

from typing import Any

import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from ..functional import capped_sinkhorn, transport_cost
from ..functional.sinkhorn import check_epsilon
from ..structures import TransportPlan
from ..utils.settings import checked_settings
from .allocation_loss import AllocationLoss


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
        **kwargs: As in :class:`AllocationLoss`: ``reduction``, ``loss_weight``, ``init_cfg``.

    Raises:
        ValueError: A setting is out of its range; later, K is less than ``capacity``.
    """

    def __init__(
        self, capacity: float = 10, epsilon: float = 0.1, max_iters: int = 50, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_epsilon('CappedAllocationLoss', epsilon, torch.float32)
        for name, value in dict(capacity=capacity, max_iters=max_iters).items():
            if not value > 0:
                raise ValueError(f'CappedAllocationLoss: {name} must be > 0, got {value}')
        self.capacity = capacity
        self.epsilon = epsilon
        self.max_iters = max_iters

    @torch.no_grad()
    def plan(self, similarity: Tensor) -> TransportPlan:
        """See :func:`capped_sinkhorn`; ``similarity`` is (..., K, N)."""
        cost = transport_cost(similarity)
        return capped_sinkhorn(cost, self.capacity, self.epsilon, self.max_iters)

"""Entropic transport in which a patch may give less than its share."""

import math

import torch
from torch import Tensor

from ..structures import TransportPlan
from .sinkhorn import TOLERANCE, check_epsilon, log_kernel_of


def capped_sinkhorn(
    cost: Tensor, capacity: float, epsilon: float = 0.1, max_iters: int = 50
) -> TransportPlan:
    """Fill N targets evenly from K sources of which each gives at most ``1 / capacity``.

    Minimises ``<T, cost> - epsilon * H(T)`` over plans with column sums 1/N and row sums of at
    most ``1 / capacity``, by alternating Bregman projections [Benamou15]_: a row is scaled down
    if it gives too much, and left alone if not. At small ``epsilon`` about ``capacity`` sources
    are used, those that serve the targets best; with ``capacity`` K it is balanced transport.

    .. [Benamou15] J.-D. Benamou et al., "Iterative Bregman projections for regularized
       transportation problems", SIAM J. Sci. Comput. 2015.

    Args:
        cost: (..., K, N), finite; see :func:`sinkhorn`.
        capacity: In sources; 0 < capacity <= K.
        epsilon: Weight of the entropy, in units of the cost; see :func:`check_epsilon`.
        max_iters: Iterations; exactly this many are made.

    Returns:
        TransportPlan: ``marginal_error`` is what the rows give too much, summed; columns are met
        exactly. ``converged`` compares it with :data:`TOLERANCE`.

    Raises:
        ValueError: ``capacity`` or ``epsilon`` is out of its range, or ``max_iters`` not positive.
    """
    num_sources, num_targets = cost.shape[-2:]
    if not 0 < capacity <= num_sources:
        raise ValueError(
            f'capped_sinkhorn: capacity={capacity}, but there are {num_sources} sources; '
            f'expected a number over 0 and at most {num_sources}'
        )
    check_epsilon('capped_sinkhorn', epsilon, max_iters, cost.dtype)
    with torch.autocast(cost.device.type, enabled=False):
        dtype = torch.promote_types(cost.dtype, torch.float32)
        cost = cost.to(dtype)
        log_kernel = log_kernel_of(cost, epsilon, -2)
        return _solve(log_kernel, -math.log(capacity), -math.log(num_targets), max_iters)


def _solve(log_kernel: Tensor, log_cap: float, log_b: float, max_iters: int) -> TransportPlan:
    log_v = log_b - torch.logsumexp(log_kernel, dim=-2, keepdim=True)
    for _ in range(max_iters):
        given = torch.logsumexp(log_kernel + log_v, dim=-1, keepdim=True)
        log_u = (log_cap - given).clamp_max(0)
        log_v = log_b - torch.logsumexp(log_kernel + log_u, dim=-2, keepdim=True)
    # a softmax is the columns' last scaling: they hold at any magnitude
    plan = torch.softmax(log_kernel + log_u, dim=-2) * math.exp(log_b)
    error = (plan.sum(dim=-1) - math.exp(log_cap)).clamp_min(0).sum(dim=-1)
    return TransportPlan(plan, error <= TOLERANCE, error, max_iters)

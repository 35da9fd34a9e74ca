"""Batched balanced entropic optimal transport with uniform marginals."""

import math

import torch
from torch import Tensor

from ..structures import TransportPlan
from .exporting import is_exporting

TOLERANCE = 1e-2
"""A plan counts as converged whose marginals are met to this, in sum."""

CHUNK_NUMBERS = 2**18
"""Numbers of plans that are worked on at a time: they stay in a processor's cache."""

MAX_LINEAR_RANGE = 40
"""Epsilons between the costs of a problem up to which its scalings need no logarithms: they, and
their products, stay between exp(-80) and exp(80), as normal numbers of float32."""


def sinkhorn(
    cost: Tensor,
    epsilon: float = 0.1,
    max_iters: int = 20,
    tolerance: float | None = None,
    cost_range: float | None = None,
) -> TransportPlan:
    """Divide K sources among N targets, each side uniform, at small cost and high entropy.

    Minimises ``<T, cost> - epsilon * H(T)`` over plans with row sums 1/K and column sums 1/N by
    Sinkhorn's iteration [Cuturi13]_ on the logarithms of the scalings, so that a small
    ``epsilon`` does not underflow. Every problem of the batch is solved on its own: no result
    depends on which other problems it is batched with. Runs in float32 at least, whatever
    autocast says.

    .. [Cuturi13] M. Cuturi, "Sinkhorn distances", NeurIPS 2013.

    Args:
        cost: (..., K, N), finite. What lies above the smallest cost by more ``epsilon`` than a
            quarter of the dtype's largest number counts as that many.
        epsilon: Weight of the entropy, in units of the cost; see :func:`check_epsilon`.
        max_iters: Iterations. Without ``tolerance`` exactly this many, with no look at the values
            in between (on a GPU: no synchronisation).
        tolerance: With a number, a problem is left alone once its ``marginal_error`` is at most
            this, and the loop ends when all are.
        cost_range: What the costs of a problem differ by at most, if that is known: 2 for
            ``1 - cosine``. Up to :data:`MAX_LINEAR_RANGE` times ``epsilon``, and without
            ``tolerance``, the iteration then runs on the scalings themselves, several times as
            fast, with the same result up to rounding.

    Returns:
        TransportPlan: ``plan`` in float64 for float64 costs, in float32 otherwise. ``converged``
        compares ``marginal_error`` with ``tolerance``, or with :data:`TOLERANCE`
        if there is none.

    Raises:
        ValueError: ``epsilon`` is out of its range, or ``max_iters`` is not positive.
    """
    check_epsilon('sinkhorn', epsilon, max_iters, cost.dtype)
    with torch.autocast(cost.device.type, enabled=False):
        return _solve(cost, epsilon, max_iters, tolerance, cost_range)


def check_epsilon(
    caller: str, epsilon: float, max_iters: int, dtype: torch.dtype = torch.float32
) -> None:
    """Raise ``ValueError`` for what is no normal positive number in ``dtype`` or float32.

    Zero divided by it could be NaN; of the two dtypes the wider one counts. The iterations that
    it is to be used in are checked, too.
    """
    dtype = torch.promote_types(dtype, torch.float32)
    numbers = torch.finfo(dtype)
    if not numbers.tiny <= epsilon <= numbers.max:
        raise ValueError(
            f'{caller}: epsilon must be > 0, from {numbers.tiny} to {numbers.max} in {dtype}, '
            f'got {epsilon}'
        )
    if max_iters < 1:
        raise ValueError(f'{caller}: max_iters must be at least 1, got {max_iters}')


def _solve(
    cost: Tensor,
    epsilon: float,
    max_iters: int,
    tolerance: float | None,
    cost_range: float | None,
) -> TransportPlan:
    k, n = cost.shape[-2:]
    dtype = torch.promote_types(cost.dtype, torch.float32)
    cost = cost.to(dtype)
    log_kernel = log_kernel_of(cost, epsilon, (-2, -1))
    # problems last: sums over K or N then add whole vectors, many times faster than K x N blocks
    problems = log_kernel.reshape(-1, k, n).permute(1, 2, 0)
    chunk = max(CHUNK_NUMBERS // max(k * n, 1), 1)
    parts = [problems] if is_exporting() else problems.split(chunk, dim=-1)
    if tolerance is None and cost_range is not None and cost_range <= MAX_LINEAR_RANGE * epsilon:
        solved = [_scale_chunk(part.contiguous().exp(), max_iters) for part in parts]
    else:
        solved = [_solve_chunk(part.contiguous(), max_iters, tolerance) for part in parts]
    plan = torch.cat([s.plan for s in solved], dim=-1).permute(2, 0, 1).reshape(cost.shape)
    error = torch.cat([s.marginal_error for s in solved]).view(cost.shape[:-2])
    converged = error <= (TOLERANCE if tolerance is None else tolerance)
    return TransportPlan(plan, converged, error, max(s.n_iters for s in solved))


def log_kernel_of(cost: Tensor, epsilon: float, dim: int | tuple[int, ...]) -> Tensor:
    """``-cost / epsilon``, the smallest cost of ``dim`` moved to 0, and nothing infinite.

    A common offset would take the logarithms' digits. An infinite logarithm would make NaN of
    the sums: it is cut where even the sum of three stays finite.
    """
    log_kernel = (cost - cost.amin(dim=dim, keepdim=True)) / -epsilon
    return log_kernel.clamp_min(-torch.finfo(cost.dtype).max / 4)


def _solve_chunk(log_kernel: Tensor, max_iters: int, tolerance: float | None) -> TransportPlan:
    """Solve problems (K, N, Q), Q of them; everything in the result has Q last."""
    log_a, log_b = (-math.log(size) for size in log_kernel.shape[:2])
    log_u, log_v = _update(log_kernel, torch.zeros_like(log_kernel[:1]), log_a, log_b)
    n_iters = 1
    while n_iters < max_iters:
        if tolerance is None:
            log_u, log_v = _update(log_kernel, log_v, log_a, log_b)
        else:
            open_problems = _row_error(_plan(log_kernel, log_u)) > tolerance
            if not open_problems.any():
                break
            new_u, new_v = _update(log_kernel, log_v, log_a, log_b)
            log_u = torch.where(open_problems, new_u, log_u)
            log_v = torch.where(open_problems, new_v, log_v)
        n_iters += 1
    plan = _plan(log_kernel, log_u)
    error = _row_error(plan)
    return TransportPlan(plan, error, error, n_iters)


def _scale_chunk(kernel: Tensor, max_iters: int) -> TransportPlan:
    """As :func:`_solve_chunk`, of ``exp(log_kernel)``."""
    k, n = kernel.shape[:2]
    v = torch.ones_like(kernel[:1])
    for _ in range(max_iters):
        scaled = kernel * (1 / k / (kernel * v).sum(dim=1, keepdim=True))
        v = 1 / n / scaled.sum(dim=0, keepdim=True)
    plan = scaled * v
    error = _row_error(plan)
    return TransportPlan(plan, error, error, max_iters)


def _update(
    log_kernel: Tensor, log_v: Tensor, log_a: float, log_b: float
) -> tuple[Tensor, Tensor]:
    """One iteration: meet the rows, then the columns. (K, 1, Q) and (1, N, Q)."""
    log_u = log_a - torch.logsumexp(log_kernel + log_v, dim=1, keepdim=True)
    log_v = log_b - torch.logsumexp(log_kernel + log_u, dim=0, keepdim=True)
    return log_u, log_v


def _plan(log_kernel: Tensor, log_u: Tensor) -> Tensor:
    """(K, N, Q): the scaling of the columns is a softmax, so that they hold at any magnitude."""
    return torch.softmax(log_kernel + log_u, dim=0) / log_kernel.shape[1]


def _row_error(plan: Tensor) -> Tensor:
    """What the rows miss, summed; (Q,)."""
    return (plan.sum(dim=1) - 1 / len(plan)).abs().sum(dim=0)

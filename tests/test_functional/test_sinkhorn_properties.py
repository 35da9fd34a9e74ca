"""Transport on any problem: shapes, sizes, dtypes, ties; the profile `long` tries more of them."""

import numpy as np
import ot
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from sotglp_mm.functional import capped_sinkhorn, local_scores, sinkhorn, transport_cost

EPSILONS = st.sampled_from([1e-3, 3e-3, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0])
DTYPES = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16])
SCALES = st.sampled_from([0.0, 1e-6, 1e-2, 1.0, 100.0, 1e4, 1e8, 1e20, 1e37, 1e306])
KINDS = st.sampled_from(['random', 'constant', 'equal rows', 'equal columns', 'few values'])
SIZES = st.integers(1, 9)


def random_numbers(seed: int, *shape: int) -> torch.Tensor:
    """float64 in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64) * 2 - 1


@st.composite
def problems(draw, dtypes=DTYPES, scales=SCALES, batches=(0, 1, 2, 5)) -> torch.Tensor:
    """Costs (Q, K, N)."""
    seed, k, n = draw(st.integers(0, 2**31)), draw(SIZES), draw(SIZES)
    cost = random_numbers(seed, draw(st.sampled_from(batches)), k, n)
    kind = draw(KINDS)
    if kind == 'constant':
        cost = torch.full_like(cost, 0.7)
    elif kind == 'equal rows':
        cost = cost[:, :1].expand(cost.shape)
    elif kind == 'equal columns':
        cost = cost[:, :, :1].expand(cost.shape)
    elif kind == 'few values':
        cost = cost.round()
    dtype, scale = draw(dtypes), draw(scales)
    return (cost * min(scale, 0.99 * torch.finfo(dtype).max)).to(dtype)


def assert_a_plan(plan: torch.Tensor, cost: torch.Tensor) -> None:
    """Finite, non-negative, of the right dtype, and the columns are met."""
    assert plan.shape == cost.shape
    assert plan.dtype is torch.promote_types(cost.dtype, torch.float32)
    assert plan.isfinite().all()
    assert (plan >= 0).all()
    columns = plan.sum(dim=-2)
    torch.testing.assert_close(columns, torch.full_like(columns, 1 / cost.shape[-1]))


def assert_close(one: torch.Tensor, other: torch.Tensor, cost: torch.Tensor, epsilon: float):
    """Equal but for the order of sums and the vector lanes, which large logarithms magnify."""
    logarithm = float(cost.double().abs().max() / epsilon)
    slack = min(20 * torch.finfo(one.dtype).eps * max(logarithm, 1), 1e-3)
    torch.testing.assert_close(one, other, rtol=slack, atol=slack)


@given(problems(), EPSILONS, st.integers(1, 40), st.sampled_from([None, 1e-2, 1e-4]))
def test_any_problem_has_a_plan_that_tells_its_error(cost, epsilon, iterations, tolerance):
    found = sinkhorn(cost, epsilon, iterations, tolerance)
    assert_a_plan(found.plan, cost)
    error = (found.plan.sum(dim=-1) - 1 / cost.shape[-2]).abs().sum(dim=-1)
    torch.testing.assert_close(found.marginal_error, error, rtol=1e-5, atol=1e-6)
    allowed = 1e-2 if tolerance is None else tolerance
    assert torch.equal(found.converged, found.marginal_error <= allowed)
    assert 1 <= found.n_iters <= iterations


@given(problems(), EPSILONS, st.integers(1, 40), st.floats(0.1, 1))
def test_any_capped_problem_has_a_plan_that_tells_its_error(cost, epsilon, iterations, part):
    capacity = part * cost.shape[-2]
    found = capped_sinkhorn(cost, capacity, epsilon, iterations)
    assert_a_plan(found.plan, cost)
    error = (found.plan.sum(dim=-1) - 1 / capacity).clamp_min(0).sum(dim=-1)
    torch.testing.assert_close(found.marginal_error, error, rtol=1e-5, atol=1e-6)
    assert torch.equal(found.converged, found.marginal_error <= 1e-2)


@given(
    problems(st.just(torch.float64), st.just(1.0), batches=(1,)),
    # the range of the costs, and epsilon: at more than some hundred epsilons, neither converges
    st.sampled_from(
        [(0.01, 1e-3), (0.1, 1e-3), (0.1, 3e-3), (0.1, 0.01), (1, 0.05), (1, 0.1), (1, 1), (1, 10)]
    ),
)
def test_agrees_with_pot(cost, settings):
    scale, epsilon = settings
    cost = cost * scale
    found = sinkhorn(cost, epsilon, 20000, 1e-11)
    assume(found.converged.all())  # few problems need more iterations
    rows, columns = (np.full(size, 1 / size) for size in cost.shape[1:])
    stop = dict(numItermax=20000, stopThr=1e-11, warn=False)
    expected, log = ot.sinkhorn(
        rows, columns, cost[0].numpy(), epsilon, 'sinkhorn_log', log=True, **stop
    )
    assume(log['err'][-1] < 1e-11)  # POT needs more for some that ours solves
    torch.testing.assert_close(
        found.plan[0], torch.from_numpy(expected).double(), rtol=1e-5, atol=1e-8
    )


@given(
    problems(st.sampled_from([torch.float64, torch.float32]), batches=(3,)),
    EPSILONS,
    st.integers(0, 2**31),
)
def test_follows_permutations_of_patches_prompts_and_classes(cost, epsilon, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k, n = (torch.randperm(size, generator=generator) for size in cost.shape)

    def permuted(x: torch.Tensor) -> torch.Tensor:
        return x[q][:, k][:, :, n]

    for solve in (sinkhorn, lambda c, e: capped_sinkhorn(c, 0.6 * c.shape[-2], e)):
        plan = solve(cost, epsilon).plan
        assert_close(solve(permuted(cost), epsilon).plan, permuted(plan), cost, epsilon)


@given(problems(batches=(4,)), EPSILONS)
def test_a_batch_is_its_items(cost, epsilon):
    together = sinkhorn(cost, epsilon).plan
    alone = torch.stack([sinkhorn(each, epsilon).plan for each in cost])
    assert_close(together, alone, cost, epsilon)


@given(st.integers(0, 2**31), SIZES, SIZES, st.sampled_from(['mean', 'sum']))
def test_gradient_of_the_score_is_that_of_central_differences(seed, k, n, reduction):
    """With the plan held, as the method has it: it is a constant for the gradient."""
    similarity = random_numbers(seed, 2, k, n).requires_grad_()
    direction = random_numbers(seed + 1, 2, k, n)
    plan = sinkhorn(transport_cost(similarity)).plan
    local_scores(plan, similarity, reduction).sum().backward()
    step = 1e-6

    def score(sign: int) -> torch.Tensor:
        moved = similarity.detach() + sign * step * direction
        return local_scores(plan, moved, reduction).sum()

    expected = (score(1) - score(-1)) / (2 * step)
    torch.testing.assert_close((similarity.grad * direction).sum(), expected, rtol=1e-6, atol=1e-9)


@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(2, 6))
def test_gradient_of_the_solver_itself_is_that_of_central_differences(seed, k, n):
    """The library holds the plan; who differentiates through the iterations gets this."""
    cost = random_numbers(seed, k, n).requires_grad_()
    weight, direction = random_numbers(seed + 1, k, n), random_numbers(seed + 2, k, n)
    (sinkhorn(cost, 0.3).plan * weight).sum().backward()
    step = 1e-6

    def value(sign: int) -> torch.Tensor:
        return (sinkhorn(cost.detach() + sign * step * direction, 0.3).plan * weight).sum()

    expected = (value(1) - value(-1)) / (2 * step)
    torch.testing.assert_close((cost.grad * direction).sum(), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize('tolerance', [0.0, 1e-6])
def test_a_tolerance_out_of_reach_is_not_met(tolerance: float):
    cost = transport_cost(random_numbers(3, 5, 4).float()) * 30
    found = sinkhorn(cost, 0.05, 3, tolerance)
    assert not found.converged
    assert found.n_iters == 3

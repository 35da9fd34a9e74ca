"""Sinkhorn: marginals, an outside solver, the plain loops, batches, dtypes, edges."""

import math
import re
import sys
from functools import partial

import numpy as np
import ot
import pytest
import reference
import torch

from sotglp_mm.functional import capped_sinkhorn, sinkhorn

B, C, K, N = 2, 3, 5, 4


def make_similarity(seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """(B, C, K, N) in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(B, C, K, N, generator=generator, dtype=torch.float64).mul(2).sub(1).to(dtype)


def test_marginals_hold():
    solved = sinkhorn(1 - make_similarity(), max_iters=200)
    plan = solved.plan
    torch.testing.assert_close(plan.sum(-1), torch.full_like(plan.sum(-1), 1 / K))
    torch.testing.assert_close(plan.sum(-2), torch.full_like(plan.sum(-2), 1 / N))
    assert plan.min() >= 0
    assert solved.converged.all()
    assert solved.n_iters == 200


def test_columns_are_met_exactly_after_any_number_of_iterations():
    plan = sinkhorn(1 - make_similarity(), max_iters=1).plan
    torch.testing.assert_close(plan.sum(-2), torch.full_like(plan.sum(-2), 1 / N))


@pytest.mark.parametrize('epsilon', [0.05, 0.1, 1.0])
def test_agrees_with_pot(epsilon: float):
    cost = 1 - make_similarity()
    found = sinkhorn(cost, epsilon=epsilon, max_iters=3000).plan
    rows, columns = np.full(K, 1 / K), np.full(N, 1 / N)
    for b in range(B):
        for c in range(C):
            expected = ot.sinkhorn(
                rows, columns, cost[b, c].numpy(), reg=epsilon, numItermax=5000, stopThr=1e-13
            )
            torch.testing.assert_close(found[b, c], torch.from_numpy(expected))


def test_a_plan_of_which_a_formula_is_known():
    # two by two: rows and columns leave one number, and the plan's odds are exp(20) here
    cost = torch.tensor([[0.01, 0.0], [-0.01, 0.0]], dtype=torch.float64)
    rare = 0.5 / (1 + np.exp(10))
    expected = torch.tensor([[rare, 0.5 - rare], [0.5 - rare, rare]], dtype=torch.float64)
    solved = sinkhorn(cost, epsilon=1e-3, max_iters=50000, tolerance=1e-12)
    torch.testing.assert_close(solved.plan, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize('iterations', [1, 2, 7])
def test_agrees_with_plain_loops_after_the_same_number_of_iterations(iterations: int):
    similarity = make_similarity()
    found = sinkhorn(1 - similarity, epsilon=0.1, max_iters=iterations).plan
    for b in range(B):
        for c in range(C):
            expected = reference.sinkhorn(similarity[b, c].numpy(), 0.1, iterations)
            torch.testing.assert_close(found[b, c], torch.from_numpy(expected))


@pytest.mark.parametrize('tolerance', [None, 1e-2, 1e-6])
def test_a_batch_agrees_with_a_loop_over_its_items(tolerance: float | None):
    cost = 1 - make_similarity()
    # one problem that is solved at once, beside others that take many iterations
    cost[0, 1] = 0.5
    together = sinkhorn(cost, epsilon=0.05, max_iters=300, tolerance=tolerance)
    iterations = []
    for b in range(B):
        for c in range(C):
            alone = sinkhorn(cost[b, c], epsilon=0.05, max_iters=300, tolerance=tolerance)
            iterations.append(alone.n_iters)
            torch.testing.assert_close(together.plan[b, c], alone.plan)
            torch.testing.assert_close(
                together.marginal_error[b, c], alone.marginal_error, atol=1e-12, rtol=1e-6
            )
            assert together.converged[b, c] == alone.converged
    assert together.n_iters == max(iterations)
    assert (min(iterations) == 1) is (tolerance is not None)


@pytest.mark.parametrize('tolerance', [None, 1e-4])
@pytest.mark.parametrize(
    ('numbers', 'sizes'),
    [(1, [1] * B * C), (K * N * 4 + 1, [4, 2]), (10**9, [B * C])],
    ids=['one by one', 'four at a time', 'all at once'],
)
def test_chunks_change_nothing(monkeypatch, numbers: int, sizes: list, tolerance: float | None):
    module = sys.modules[sinkhorn.__module__]
    cost = 1 - make_similarity()
    expected = sinkhorn(cost, max_iters=300, tolerance=tolerance)
    solved: list[int] = []

    def watched(log_kernel: torch.Tensor, *args):
        solved.append(log_kernel.shape[-1])
        return solve_chunk(log_kernel, *args)

    solve_chunk = module._solve_chunk
    monkeypatch.setattr(module, 'CHUNK_NUMBERS', numbers)
    monkeypatch.setattr(module, '_solve_chunk', watched)
    found = sinkhorn(cost, max_iters=300, tolerance=tolerance)
    assert solved == sizes
    torch.testing.assert_close(found.plan, expected.plan)
    torch.testing.assert_close(found.marginal_error, expected.marginal_error, rtol=0, atol=1e-12)
    assert found.n_iters == expected.n_iters
    assert found.converged.all()


def test_defaults_are_those_of_the_paper():
    cost = 1 - make_similarity()
    found, expected = sinkhorn(cost), sinkhorn(cost, epsilon=0.1, max_iters=20)
    torch.testing.assert_close(found.plan, expected.plan, rtol=0, atol=0)
    assert found.n_iters == 20


def test_an_error_as_large_as_the_tolerance_meets_it():
    cost = 1 - make_similarity()[0, 0]
    error = sinkhorn(cost, max_iters=5).marginal_error.item()
    solved = sinkhorn(cost, max_iters=50, tolerance=error)
    assert solved.n_iters == 5
    assert solved.converged


def test_tolerance_is_met_and_saves_iterations():
    solved = sinkhorn(1 - make_similarity(), max_iters=500, tolerance=1e-4)
    assert (solved.marginal_error <= 1e-4).all()
    assert solved.converged.all()
    assert 1 < solved.n_iters < 500


def test_marginal_error_is_that_of_the_plan():
    solved = sinkhorn(1 - make_similarity(), max_iters=2)
    expected = (solved.plan.sum(-1) - 1 / K).abs().sum(-1)
    torch.testing.assert_close(solved.marginal_error, expected)


@pytest.mark.parametrize(
    ('given', 'used'),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
)
def test_dtypes(given: torch.dtype, used: torch.dtype):
    cost = 1 - make_similarity(dtype=given)
    solved = sinkhorn(cost)
    assert solved.plan.dtype is used
    assert solved.marginal_error.dtype is used
    torch.testing.assert_close(solved.plan, sinkhorn(cost.to(used)).plan)


def test_float32_meets_float64():
    cost = 1 - make_similarity()
    single = sinkhorn(cost.float()).plan
    torch.testing.assert_close(single.double(), sinkhorn(cost).plan, rtol=1e-4, atol=1e-6)


def test_runs_in_float32_under_autocast():
    cost = 1 - make_similarity(dtype=torch.float32)
    expected = sinkhorn(cost).plan
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = sinkhorn(cost).plan
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_small_epsilon_stays_finite():
    cost = 1 - make_similarity(dtype=torch.float32)
    # exp(-2 / 1e-3) is zero in float32: a kernel that is not kept as a logarithm dies here
    cost[0, 0, 0], cost[0, 0, 1] = 0.0, 2.0
    cost[1, 2, :, 0], cost[1, 2, :, 1] = 2.0, 0.0
    assert (-cost / 1e-3).exp().eq(0).any()
    solved = sinkhorn(cost, epsilon=1e-3, max_iters=200)
    assert solved.plan.isfinite().all()
    assert solved.marginal_error.isfinite().all()
    # logarithms reach 2000, where float32 has steps of 1e-4
    torch.testing.assert_close(solved.plan.sum((-2, -1)), torch.ones(B, C), rtol=0, atol=1e-3)


@pytest.mark.parametrize(('dtype', 'rtol'), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize('iterations', [1, 20, 300])
def test_a_known_range_of_costs_saves_the_logarithms(dtype, rtol, iterations, monkeypatch):
    cost = 1 - make_similarity(dtype=dtype)
    # the widest that it is used for, where one row or column is far from all
    cost[0, 0], cost[0, 0, 2], cost[1, 1], cost[1, 1, :, 1] = 0.0, 2.0, 2.0, 0.0
    epsilon = 2 / sys.modules[sinkhorn.__module__].MAX_LINEAR_RANGE
    expected = sinkhorn(cost, epsilon, iterations)
    monkeypatch.setattr(torch, 'logsumexp', None)
    found = sinkhorn(cost, epsilon, iterations, cost_range=2)
    torch.testing.assert_close(found.plan, expected.plan, rtol=rtol, atol=1e-6)
    torch.testing.assert_close(found.marginal_error, expected.marginal_error, rtol=rtol, atol=1e-5)
    assert found.n_iters == iterations


def test_a_wide_range_of_costs_keeps_the_logarithms():
    cost = 1 - make_similarity()
    for epsilon, tolerance in ((1e-3, None), (0.1, 1e-3)):
        expected = sinkhorn(cost, epsilon, 50, tolerance)
        found = sinkhorn(cost, epsilon, 50, tolerance, cost_range=2)
        torch.testing.assert_close(found.plan, expected.plan, rtol=0, atol=0)
        assert found.n_iters == expected.n_iters


def test_constant_cost_gives_the_uniform_plan():
    solved = sinkhorn(torch.full((B, C, K, N), 0.7), max_iters=1)
    torch.testing.assert_close(solved.plan, torch.full((B, C, K, N), 1 / (K * N)))
    assert solved.converged.all()


def test_too_few_iterations_are_reported():
    # two targets that only one patch is near: the first iteration cannot meet the patches
    cost = torch.ones(K, N)
    cost[0] = 0
    cost[1, 2] = 0.2
    solved = sinkhorn(cost, epsilon=0.02, max_iters=1)
    assert not solved.converged
    assert solved.marginal_error > 1e-2
    assert not sinkhorn(cost, epsilon=0.02, max_iters=1, tolerance=1e-3).converged


FLOAT32, FLOAT64 = torch.finfo(torch.float32), torch.finfo(torch.float64)


@pytest.mark.parametrize('solve', [sinkhorn, partial(capped_sinkhorn, capacity=3)])
@pytest.mark.parametrize(
    ('dtype', 'epsilon'),
    [
        *((torch.float32, wrong) for wrong in (0.0, -0.1, math.nan, math.inf, -math.inf)),
        # 0 in float32, and the number before the first normal one; halves are solved in float32
        *((torch.float32, wrong) for wrong in (1e-46, FLOAT32.tiny * (1 - 2**-24))),
        (torch.float32, FLOAT32.max * (1 + 2**-24)),
        (torch.bfloat16, 1e-46),
        (torch.float16, 1e-46),
        (torch.float64, FLOAT64.tiny * (1 - 2**-52)),
        (torch.float64, math.inf),
    ],
)
def test_epsilon_must_be_a_normal_positive_number(solve, dtype, epsilon: float):
    computed = torch.promote_types(dtype, torch.float32)
    message = (
        f'sinkhorn: epsilon must be > 0, from {torch.finfo(computed).tiny} to '
        f'{torch.finfo(computed).max} in {computed}, got {epsilon}'
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        solve(torch.zeros(K, N, dtype=dtype), epsilon=epsilon)


@pytest.mark.parametrize('solve', [sinkhorn, partial(capped_sinkhorn, capacity=3)])
@pytest.mark.parametrize(
    ('dtype', 'epsilon'),
    [
        (torch.float32, FLOAT32.tiny),
        (torch.float32, FLOAT32.max),
        (torch.float16, FLOAT32.tiny),
        (torch.float64, 1e-46),
        (torch.float64, FLOAT64.tiny),
        (torch.float64, FLOAT64.max),
    ],
)
def test_the_first_and_the_last_epsilon_make_a_plan(solve, dtype, epsilon: float):
    plan = solve(make_similarity().to(dtype), epsilon=epsilon).plan
    assert plan.isfinite().all()
    columns = plan.sum(dim=-2)
    torch.testing.assert_close(columns, torch.full_like(columns, 1 / N))


def test_max_iters_must_be_positive():
    with pytest.raises(ValueError, match=r'max_iters must be at least 1, got 0'):
        sinkhorn(torch.zeros(K, N), max_iters=0)

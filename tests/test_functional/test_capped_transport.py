"""Transport with a capacity for each patch."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from sotglp_mm.functional import capped_sinkhorn, sinkhorn

K, N, Q = 7, 3, 5


@pytest.fixture
def cost() -> torch.Tensor:
    return torch.rand(Q, K, N, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize('capacity', [3.0, 4.5, 7])
@pytest.mark.parametrize('epsilon', [0.02, 0.3])
def test_marginals(cost, capacity: float, epsilon: float):
    found = capped_sinkhorn(cost, capacity, epsilon, max_iters=2000)
    expected = torch.full((Q, N), 1 / N, dtype=torch.float64)
    torch.testing.assert_close(found.plan.sum(dim=-2), expected)
    assert (found.plan.sum(dim=-1) <= 1 / capacity + 1e-3).all()
    assert found.converged.all()


def test_full_capacity_is_balanced_transport(cost):
    found = capped_sinkhorn(cost, K, 0.2, max_iters=500).plan
    torch.testing.assert_close(found, sinkhorn(cost, 0.2, 500).plan, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('iterations', [1, 2, 7])
def test_agrees_with_plain_scalings_after_the_same_number_of_iterations(cost, iterations: int):
    found = capped_sinkhorn(cost, 4.5, 0.2, max_iters=iterations).plan
    for plan, kernel in zip(found, np.exp(-cost.numpy() / 0.2)):
        v = 1 / N / kernel.sum(axis=0)
        for _ in range(iterations):
            u = np.minimum(1 / 4.5 / (kernel @ v), 1)  # scaled down, or left alone
            v = 1 / N / (u @ kernel)
        expected = torch.from_numpy(u[:, None] * kernel * v)
        torch.testing.assert_close(plan, expected)


def test_small_epsilon_is_the_linear_programme(cost):
    capacity = 4.0
    found = capped_sinkhorn(cost, capacity, 1e-3, max_iters=20000).plan
    for plan, c in zip(found, cost):
        rows = np.kron(np.eye(K), np.ones(N))
        columns = np.kron(np.ones(K), np.eye(N))
        best = linprog(
            c.flatten().numpy(), rows, np.full(K, 1 / capacity), columns, np.full(N, 1 / N)
        )
        assert (plan * c).sum().item() == pytest.approx(best.fun, abs=2e-3)


def test_unneeded_patches_give_nothing():
    cost = torch.ones(8, 2)
    cost[:2, 0] = cost[2:4, 1] = 0
    plan = capped_sinkhorn(cost, 4, 0.05).plan
    assert plan[4:].sum() < 1e-6
    assert plan[:4].sum().item() == pytest.approx(1, abs=1e-5)


def test_half_precision_is_solved_in_float32(cost):
    found = capped_sinkhorn(cost.bfloat16(), 4, 0.1)
    assert found.plan.dtype is torch.float32


@pytest.mark.parametrize('capacity', [0, 8])
def test_capacity_out_of_range(cost, capacity: int):
    with pytest.raises(ValueError, match=rf'capacity={capacity}, but there are 7 sources'):
        capped_sinkhorn(cost, capacity)


@pytest.mark.parametrize('epsilon', [0.0, -1.0, 1e-309, float('nan'), float('inf')])
def test_epsilon_must_be_a_normal_positive_number(cost, epsilon: float):
    with pytest.raises(
        ValueError, match=f'^capped_sinkhorn: epsilon must .*float64, got {epsilon}'
    ):
        capped_sinkhorn(cost, 4, epsilon)


def test_max_iters_must_be_positive(cost):
    with pytest.raises(ValueError, match='capped_sinkhorn: max_iters must be at least 1, got 0'):
        capped_sinkhorn(cost, 4, max_iters=0)


def test_one_iteration_and_a_tiny_capacity_are_allowed(cost):
    found = capped_sinkhorn(cost, 0.5, 0.1, max_iters=1)
    assert found.n_iters == 1
    assert found.converged.all()  # no row reaches a mass of 2


def test_defaults(cost):
    found, expected = capped_sinkhorn(cost, 4), capped_sinkhorn(cost, 4, epsilon=0.1, max_iters=50)
    torch.testing.assert_close(found.plan, expected.plan, rtol=0, atol=0)
    assert found.n_iters == 50


def test_marginal_error_is_what_the_rows_give_too_much(cost):
    found = capped_sinkhorn(cost, 3, 0.02, max_iters=1)
    expected = (found.plan.sum(dim=-1) - 1 / 3).clamp_min(0).sum(dim=-1)
    torch.testing.assert_close(found.marginal_error, expected)
    assert found.marginal_error.gt(1e-2).any()
    assert found.converged.tolist() == (expected <= 1e-2).tolist()


@pytest.mark.parametrize('seed', range(8))
def test_gradient_is_that_of_central_differences(seed: int):
    """Of fixed problems: where a row just begins to give too much there is a kink."""
    generator = torch.Generator().manual_seed(seed)
    cost, weight, direction = torch.rand(3, Q, K, N, generator=generator, dtype=torch.float64)
    cost.requires_grad_()

    def value(at: torch.Tensor) -> torch.Tensor:
        return (capped_sinkhorn(at, 4.5, 0.2, max_iters=10).plan * weight).sum()

    value(cost).backward()
    step = 1e-6
    moved = [value(cost.detach() + sign * step * direction) for sign in (1, -1)]
    expected = (moved[0] - moved[1]) / (2 * step)
    torch.testing.assert_close((cost.grad * direction).sum(), expected, rtol=1e-5, atol=1e-8)

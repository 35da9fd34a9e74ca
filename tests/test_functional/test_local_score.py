"""Local scores: plain loops, and what the gradient sees."""

import pytest
import reference
import torch

from sotglp_mm.functional import local_scores, transport_cost

B, C, K, N = 2, 3, 5, 4


def make(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(B, C, K, N, generator=generator, dtype=torch.float64)


@pytest.fixture
def similarity() -> torch.Tensor:
    return make(0).requires_grad_()


@pytest.fixture
def plan() -> torch.Tensor:
    plan = make(1)
    return (plan / plan.sum((-2, -1), keepdim=True)).requires_grad_()


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_agrees_with_plain_loops(plan, similarity, reduction: str):
    found = local_scores(plan, similarity, reduction)
    assert found.shape == (B, C)
    for b in range(B):
        for c in range(C):
            expected = reference.local_score(
                plan[b, c].detach().numpy(), similarity[b, c].detach().numpy(), reduction
            )
            assert found[b, c].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(('reduction', 'divisor'), [('mean', N), ('sum', 1)])
def test_the_plan_is_a_constant_for_the_gradient(plan, similarity, reduction, divisor):
    local_scores(plan, similarity, reduction).sum().backward()
    assert plan.grad is None
    torch.testing.assert_close(similarity.grad, plan.detach() / divisor)


def test_default_is_the_released_mean(plan, similarity):
    torch.testing.assert_close(
        local_scores(plan, similarity), local_scores(plan, similarity, 'mean')
    )


def test_unknown_reduction(plan, similarity):
    with pytest.raises(ValueError, match=r"reduction='max'.*'mean', 'sum'"):
        local_scores(plan, similarity, 'max')


def test_cost_of_equal_opposite_and_unrelated():
    found = transport_cost(torch.tensor([1.0, -1.0, 0.0]))
    torch.testing.assert_close(found, torch.tensor([0.0, 2.0, 1.0]))

"""Allocations: scores against plain loops, the loss, its gradient, capacities, settings."""

import pytest
import reference
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS

from sotglp_mm.functional import capped_sinkhorn, sinkhorn

B, C, K, N = 2, 3, 5, 4
DEFAULT_ARGS = dict(type='OTAllocationLoss')
SCALE = 20.0


@pytest.fixture
def similarity() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(B, C, K, N, generator=generator, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('epsilon', [0.05, 0.3])
def test_scores_agree_with_plain_loops(similarity, reduction: str, epsilon: float):
    loss = MODELS.build(
        {**DEFAULT_ARGS, 'epsilon': epsilon, 'reduction': reduction, 'max_iters': 6}
    )
    found = loss.scores(similarity)
    assert found.shape == (B, C)
    for b in range(B):
        for c in range(C):
            one = similarity[b, c].numpy()
            plan = reference.sinkhorn(one, epsilon, iterations=6)
            expected = reference.local_score(plan, one, reduction)
            assert found[b, c].item() == pytest.approx(expected, rel=1e-9)


def test_gradient_meets_central_differences_with_the_plan_held_fixed(similarity):
    loss = MODELS.build({**DEFAULT_ARGS, 'reduction': 'sum'})
    target = torch.tensor([2, 0])
    similarity.requires_grad_()
    loss(loss.scores(similarity), target, SCALE).backward()

    plan = loss.plan(similarity).plan
    assert not plan.requires_grad
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(B, C, K, N, generator=generator, dtype=torch.float64)
    step = 1e-5

    def at(shift: float) -> torch.Tensor:
        moved = similarity.detach() + shift * direction
        return loss((plan * moved).sum((-2, -1)), target, SCALE)

    numeric = (at(step) - at(-step)) / (2 * step)
    torch.testing.assert_close((similarity.grad * direction).sum(), numeric)


def test_labels_and_class_probabilities():
    scores = torch.randn(B, C, generator=torch.Generator().manual_seed(2))
    target = torch.tensor([2, 0])
    loss = MODELS.build({**DEFAULT_ARGS, 'loss_weight': 0.5})
    log_probabilities = (SCALE * scores).log_softmax(dim=-1)
    expected = -0.5 * (log_probabilities[0, 2] + log_probabilities[1, 0]) / 2
    torch.testing.assert_close(loss(scores, target, SCALE), expected)
    one_hot = F.one_hot(target, C).float()
    torch.testing.assert_close(loss(scores, one_hot, SCALE), expected)
    mixed = torch.tensor([[0.0, 0.4, 0.6], [1.0, 0.0, 0.0]])
    expected = -0.5 * (mixed * log_probabilities).sum() / 2
    torch.testing.assert_close(loss(scores, mixed, SCALE), expected)


def test_tolerance_is_handed_on_and_defaults_are_the_released_ones(similarity):
    loose = MODELS.build({**DEFAULT_ARGS, 'tolerance': 0.5, 'max_iters': 50})
    strict = MODELS.build({**DEFAULT_ARGS, 'tolerance': 1e-3, 'max_iters': 50})
    assert loose.plan(similarity).n_iters < strict.plan(similarity).n_iters < 50
    explicit = {**DEFAULT_ARGS, 'epsilon': 0.1, 'reduction': 'mean', 'loss_weight': 1.0}
    expected = MODELS.build(explicit).scores(similarity)
    torch.testing.assert_close(MODELS.build(DEFAULT_ARGS).scores(similarity), expected)


@pytest.mark.parametrize(
    ('setting', 'value'),
    [
        *(('epsilon', value) for value in (0.0, 1e-46, float('nan'), float('inf'))),
        ('max_iters', 0),
        ('reduction', 'max'),
    ],
)
def test_settings_out_of_range_are_named(setting: str, value):
    with pytest.raises(ValueError, match=rf'OTAllocationLoss: {setting}.*{value}'):
        MODELS.build({**DEFAULT_ARGS, setting: value})


@pytest.mark.parametrize(('epsilon', 'told'), [(1e-3, 1), (0.1, 0)])
def test_plans_that_do_not_converge_are_told_once_in_evaluation(logged, epsilon, told):
    lines = logged('models.allocations')
    similarity = torch.rand(3, 4, 7, 5, generator=torch.Generator().manual_seed(0)) * 0.5
    loss = MODELS.build(dict(type='OTAllocationLoss', epsilon=epsilon, max_iters=50))
    loss.plan(similarity)
    assert not lines
    loss.eval()
    loss.plan(similarity), loss.plan(similarity)
    assert len(lines) == told
    assert all('max_iters=50 iterations at epsilon=0.001' in line for line in lines)


SIMILARITY = torch.rand(2, 3, 8, 4, generator=torch.Generator().manual_seed(4)) / 10


def test_capped_plan_and_scores():
    loss = MODELS.build(
        dict(type='CappedAllocationLoss', capacity=5, epsilon=0.05, reduction='sum')
    )
    plan = capped_sinkhorn(1 - SIMILARITY, 5, 0.05, 50).plan
    torch.testing.assert_close(loss.plan(SIMILARITY).plan, plan)
    torch.testing.assert_close(loss.scores(SIMILARITY), (plan * SIMILARITY).sum(dim=(-2, -1)))


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('capacity', 0, 'capacity must be > 0, got 0'),
        ('max_iters', 0, 'max_iters must be at least 1, got 0'),
        *(
            ('epsilon', value, f'epsilon must .*, got {value}')
            for value in (0, 1e-46, float('nan'), float('inf'))
        ),
    ],
)
def test_settings_of_a_capped_one_out_of_range(name: str, value, message: str):
    with pytest.raises(ValueError, match=f'CappedAllocationLoss: {message}'):
        MODELS.build(dict(type='CappedAllocationLoss', **{name: value}))


def test_relative_epsilon_is_in_standard_deviations():
    loss = MODELS.build(dict(type='OTAllocationLoss', epsilon=0.5, relative=True))
    for b in range(2):
        for c in range(3):
            block = SIMILARITY[b, c]
            expected = sinkhorn(1 - block, 0.5 * block.std(correction=0).item(), 20).plan
            torch.testing.assert_close(loss.plan(block).plan, expected, rtol=1e-4, atol=1e-6)
    # so it does not depend on the scale of the similarities, and a constant block is no problem
    torch.testing.assert_close(
        loss.plan(10 * SIMILARITY).plan, loss.plan(SIMILARITY).plan, rtol=1e-4, atol=1e-6
    )
    even = loss.plan(torch.full((5, 2), 0.3)).plan
    torch.testing.assert_close(even, torch.full((5, 2), 0.1))

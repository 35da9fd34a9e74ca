"""The registered form of capped transport, and of epsilon relative to the spread."""

import pytest
import torch
from mmpretrain.registry import MODELS

from sotglp_mm.functional import capped_sinkhorn, sinkhorn

SIMILARITY = torch.rand(2, 3, 8, 4, generator=torch.Generator().manual_seed(4)) / 10


def test_capped_plan_and_scores():
    loss = MODELS.build(
        dict(type='CappedAllocationLoss', capacity=5, epsilon=0.05, reduction='sum')
    )
    plan = capped_sinkhorn(1 - SIMILARITY, 5, 0.05, 50).plan
    torch.testing.assert_close(loss.plan(SIMILARITY).plan, plan)
    torch.testing.assert_close(loss.scores(SIMILARITY), (plan * SIMILARITY).sum(dim=(-2, -1)))


@pytest.mark.parametrize('name', ['capacity', 'max_iters'])
def test_settings_out_of_range(name: str):
    with pytest.raises(ValueError, match=rf'CappedAllocationLoss: {name} must be > 0, got 0'):
        MODELS.build(dict(type='CappedAllocationLoss', **{name: 0}))


@pytest.mark.parametrize('epsilon', [0, 1e-46, float('nan'), float('inf')])
def test_epsilon_out_of_range(epsilon: float):
    with pytest.raises(ValueError, match=f'CappedAllocationLoss: epsilon must .*, got {epsilon}'):
        MODELS.build(dict(type='CappedAllocationLoss', epsilon=epsilon))


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

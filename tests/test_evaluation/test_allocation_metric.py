"""What the log says of plans."""

import pytest
import torch
from mmpretrain.registry import METRICS

from sotglp_mm.evaluation.allocation_metric import part_of_patches

BOXES = [
    dict(box=(0, 0, 8, 16), of_class=True),
    dict(box=(8, 0, 16, 4), of_class=False),
    dict(box=(8, 8, 16, 16), of_class=True),
]


def sample(plan, support, **more) -> dict:
    return dict(
        gt_label=torch.tensor([0]),
        allocation_plan=torch.tensor(plan),
        allocation_support=torch.tensor(support),
        prompt_cosine=torch.tensor(0.25),
        similarity_spread=torch.tensor(0.125),
        num_patches=16,
        img_shape=(16, 16),
        **more,
    )


def evaluate(*samples: dict) -> dict:
    metric = METRICS.build(dict(type='AllocationMetric'))
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_parts_by_the_centres_of_patches():
    found = part_of_patches(sample([[1.0]], [0], parts=BOXES)).view(4, 4)
    assert found.tolist() == [[0, 0, -1, -1], [0, 0, -1, -1], [0, 0, 1, 1], [0, 0, 1, 1]]


def test_a_plan_that_keeps_to_parts_and_one_that_does_not():
    true = sample([[0.5, 0.0], [0.0, 0.5]], [0, 15], parts=BOXES)
    even = sample([[0.25, 0.25], [0.25, 0.25]], [0, 15], parts=BOXES)
    unlabelled = dict(even, gt_label=torch.tensor([], dtype=torch.int64))
    found = evaluate(true, even, unlabelled)
    assert found['allocation/part_information'] == pytest.approx(0.5)
    assert found['allocation/overlap'] == pytest.approx(0.5)
    assert found['allocation/entropy'] == pytest.approx((0.5 + 1) / 2)
    assert found['allocation/prompt_cosine'] == 0.25
    assert found['allocation/spread'] == 0.125


def test_supports_of_their_own_and_plans_that_are_not_even():
    # prompt 0 has patches 3 and 5, prompt 1 has 5 and 9
    found = evaluate(sample([[0.25, 0.25], [0.25, 0.25]], [[3, 5], [5, 9]]))
    assert found['allocation/overlap'] == pytest.approx(0.5)
    assert 'allocation/part_information' not in found
    even, uneven = [[0.25, 0.25], [0.25, 0.25]], [[0.3, 0.25], [0.2, 0.25]]
    found = evaluate(*(sample(plan, [0, 15]) for plan in (even, even, even, uneven)))
    assert found['allocation/balanced'] == 0.75  # that meet their marginals
    assert evaluate(dict(gt_label=torch.tensor([1]))) == {}  # a head without a plan

"""What a plan says, on plans whose answer is known."""

import math

import pytest
import torch

from sotglp_mm.functional import mean_cosine, part_information, plan_entropy, prompt_overlap

K, N = 6, 3
UNIFORM = torch.full((K, N), 1 / (K * N))
DISJOINT = torch.zeros(K, N)
for k in range(K):
    DISJOINT[k, k // 2] = 1 / K  # two patches for each prompt


def test_entropy_of_uniform_and_disjoint_plans():
    found = plan_entropy(torch.stack([UNIFORM, DISJOINT]))
    expected = [1.0, math.log(K) / math.log(K * N)]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_overlap_of_uniform_disjoint_and_half_shared_plans():
    half = torch.tensor([[0.25, 0.25], [0.25, 0.0], [0.0, 0.25]])
    assert prompt_overlap(UNIFORM).item() == pytest.approx(1)
    assert prompt_overlap(DISJOINT).item() == 0
    assert prompt_overlap(half).item() == pytest.approx(0.5)
    assert prompt_overlap(torch.ones(4, 1) / 4).item() == 1


def test_mean_cosine():
    e = torch.eye(3)
    assert mean_cosine(torch.stack([e[0], e[1], e[2]])).item() == 0
    assert mean_cosine(torch.stack([e[0], e[0], e[1]])).item() == pytest.approx(1 / 3)
    assert mean_cosine(e[:1]).item() == 1


def test_part_information():
    part = torch.tensor([0, 0, 1, 1, 2, 2])
    assert part_information(DISJOINT, part) == pytest.approx(1)
    assert part_information(UNIFORM, part) == pytest.approx(0, abs=1e-6)
    # mass on no part does not count
    assert part_information(DISJOINT, torch.tensor([0, 0, 1, 1, -1, -1])) == pytest.approx(1)
    # prompts that split parts say less than prompts that keep to one
    mixed = part_information(DISJOINT, torch.tensor([0, 1, 1, 2, 2, 0]))
    assert 0 < mixed < 0.7
    assert math.isnan(part_information(DISJOINT, torch.tensor([3, 3, -1, -1, -1, -1])))

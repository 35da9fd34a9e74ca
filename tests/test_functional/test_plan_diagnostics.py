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


def test_entropy_of_the_smallest_plans():
    assert plan_entropy(torch.ones(1, 1)).item() == 1
    nine_to_one = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
    assert plan_entropy(torch.tensor([[0.9], [0.1]])).item() == pytest.approx(nine_to_one)


def test_plans_and_prompts_of_a_batch_are_on_their_own():
    generator = torch.Generator().manual_seed(0)
    plans = torch.rand(2, 4, K, N, generator=generator)
    features = torch.nn.functional.normalize(torch.randn(2, 4, N, 5, generator=generator), dim=-1)
    for batch, alone in ((plans, plan_entropy), (plans, prompt_overlap), (features, mean_cosine)):
        found = alone(batch)
        expected = [[alone(item).item() for item in items] for items in batch]
        torch.testing.assert_close(found, torch.tensor(expected))
        assert len(found.unique()) == 8


def test_one_prompt_alone_in_a_batch():
    assert prompt_overlap(torch.full((2, 3, 4, 1), 0.25)).tolist() == [[1.0] * 3] * 2
    assert mean_cosine(torch.ones(2, 3, 1, 1)).tolist() == [[1.0] * 3] * 2


def test_overlap_and_cosine_agree_with_plain_loops():
    generator = torch.Generator().manual_seed(1)
    plan = torch.rand(K, N, generator=generator)
    features = torch.nn.functional.normalize(torch.randn(N, 5, generator=generator), dim=-1)
    shares = [[v / sum(column) for v in column] for column in plan.T.tolist()]
    pairs = [(i, j) for i in range(N) for j in range(N) if i != j]
    overlap = [sum(map(min, shares[i], shares[j])) for i, j in pairs]
    cosine = [sum(a * b for a, b in zip(*features[list(pair)].tolist())) for pair in pairs]
    assert prompt_overlap(plan).item() == pytest.approx(sum(overlap) / len(pairs))
    assert mean_cosine(features).item() == pytest.approx(sum(cosine) / len(pairs))


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


def test_part_information_agrees_with_plain_loops():
    """Two parts, three prompts, and much mass on no part."""
    plan = torch.rand(K, N, generator=torch.Generator().manual_seed(2)).double()
    part = [0, 0, 4, -1, 4, -1]
    table = {}
    for k, which in enumerate(part):
        for n in range(N):
            if which >= 0:
                table[which, n] = table.get((which, n), 0) + plan[k, n].item()
    total = sum(table.values())
    table = {key: mass / total for key, mass in table.items()}
    of_part = {w: sum(m for (v, _), m in table.items() if v == w) for w in (0, 4)}
    of_prompt = [sum(m for (_, i), m in table.items() if i == n) for n in range(N)]
    mutual = sum(m * math.log(m / of_part[w] / of_prompt[n]) for (w, n), m in table.items())
    entropies = [-sum(m * math.log(m) for m in side) for side in (of_part.values(), of_prompt)]
    found = part_information(plan, torch.tensor(part))
    assert found == pytest.approx(mutual / min(entropies))


def test_part_information_of_few_prompts():
    two = torch.tensor([[0.5, 0.0], [0.0, 0.5]])
    assert part_information(two, torch.tensor([0, 1])) == pytest.approx(1)
    assert math.isnan(part_information(torch.full((4, 1), 0.25), torch.tensor([0, 0, 1, 1])))


def test_part_information_where_one_prompt_alone_sees_parts():
    # the other prompt's patches show nothing: no entropy, and nothing to tell
    plan = torch.tensor([[0.25, 0.0], [0.25, 0.0], [0.0, 0.25], [0.0, 0.25]])
    assert part_information(plan, torch.tensor([0, 1, -1, -1])) == 0

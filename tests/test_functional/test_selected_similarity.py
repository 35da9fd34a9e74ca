"""Similarities of selected patches: equal to the full tensor's, gradients too, at a small size."""

import pytest
import torch

from sotglp_mm.functional import selected_similarity
from sotglp_mm.functional import selected_similarity as module_function

B, P, C, N, D, K = 3, 7, 5, 2, 6, 4


@pytest.fixture
def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(B, P, D, generator=generator, dtype=torch.float64)
    prompts = torch.randn(C, N, D, generator=generator, dtype=torch.float64)
    orders = torch.rand(B, C, P, generator=generator).argsort(dim=-1)
    return patches.requires_grad_(), prompts.requires_grad_(), orders[..., :K].contiguous()


@pytest.fixture(params=[1, 10**9], ids=['class by class', 'all at once'])
def chunked(request, monkeypatch) -> None:
    module = __import__(module_function.__module__, fromlist=['GATHER_BYTES'])
    monkeypatch.setattr(module, 'GATHER_BYTES', request.param)


def from_all(patches, prompts, support) -> torch.Tensor:
    similarity = torch.einsum('bpd,cnd->bcpn', patches, prompts)
    return similarity.gather(2, support[..., None].expand(-1, -1, -1, N))


def test_values(problem, chunked):
    found = selected_similarity(*problem)
    assert found.shape == (B, C, K, N)
    torch.testing.assert_close(found, from_all(*problem))


def test_gradients_equal_those_of_the_full_tensor(problem, chunked):
    weights = torch.randn(B, C, K, N, generator=torch.Generator().manual_seed(1)).double()
    found = torch.autograd.grad((selected_similarity(*problem) * weights).sum(), problem[:2])
    expected = torch.autograd.grad((from_all(*problem) * weights).sum(), problem[:2])
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other)


def test_gradients_against_differences(problem):
    assert torch.autograd.gradcheck(selected_similarity, problem)


def test_a_patch_that_nobody_selected_gets_no_gradient(problem):
    patches, prompts, _ = problem
    support = torch.tensor([1, 2, 4, 5]).expand(B, C, K).contiguous()
    selected_similarity(patches, prompts, support).sum().backward()
    assert not patches.grad[:, [0, 3, 6]].any()
    assert patches.grad[:, [1, 2, 4, 5]].abs().amin() > 0


@pytest.mark.parametrize('learned', [0, 1])
def test_one_side_alone_can_learn(problem, learned: int):
    expected = torch.autograd.grad(from_all(*problem).square().sum(), problem[learned])
    problem[1 - learned].requires_grad_(False)
    found = torch.autograd.grad(selected_similarity(*problem).square().sum(), problem[learned])
    torch.testing.assert_close(found, expected)


def test_patches_that_are_not_contiguous(problem):
    patches, prompts, support = problem
    transposed = patches.detach().transpose(1, 2).contiguous().transpose(1, 2)
    expected = from_all(patches, prompts, support)
    torch.testing.assert_close(selected_similarity(transposed, prompts, support), expected)

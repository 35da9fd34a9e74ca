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


CLASS_BYTES = B * K * D * 8
"""Of the selected patches of one class, in float64."""

CHUNKS = {1: [1] * C, 2 * CLASS_BYTES + 1: [2, 2, 1], 10**9: [C]}
"""For each number of bytes, how many classes are gathered at a time."""


@pytest.fixture(params=CHUNKS, ids=['class by class', 'two at a time', 'all at once'])
def chunked(request, monkeypatch) -> int:
    module = __import__(module_function.__module__, fromlist=['GATHER_BYTES'])
    monkeypatch.setattr(module, 'GATHER_BYTES', request.param)
    return request.param


def from_all(patches, prompts, support) -> torch.Tensor:
    similarity = torch.einsum('bpd,cnd->bcpn', patches, prompts)
    return similarity.gather(2, support[..., None].expand(-1, -1, -1, N))


def test_values(problem, chunked):
    found = selected_similarity(*problem)
    assert found.shape == (B, C, K, N)
    torch.testing.assert_close(found, from_all(*problem))


def test_no_more_is_copied_than_it_may_hold(problem, chunked: int, monkeypatch):
    copied: list[int] = []

    def watched(*args, **kwargs) -> torch.Tensor:
        copied.append(args[2].numel())
        return index_select(*args, **kwargs)

    index_select = torch.index_select
    monkeypatch.setattr(torch, 'index_select', watched)
    selected_similarity(*problem)
    assert copied == [classes * B * K for classes in CHUNKS[chunked]]


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


@pytest.fixture
def own_supports() -> torch.Tensor:
    """(B, C, K, N): each prompt's own patches."""
    generator = torch.Generator().manual_seed(2)
    return torch.rand(B, C, P, N, generator=generator).argsort(dim=2)[:, :, :K]


def from_all_of_own(patches, prompts, support) -> torch.Tensor:
    return torch.einsum('bpd,cnd->bcpn', patches, prompts).gather(2, support)


def test_a_support_for_each_prompt(problem, own_supports, chunked):
    patches, prompts, _ = problem
    found = selected_similarity(patches, prompts, own_supports)
    assert found.shape == (B, C, K, N)
    torch.testing.assert_close(found, from_all_of_own(patches, prompts, own_supports))


def test_gradients_with_a_support_for_each_prompt(problem, own_supports):
    both = problem[:2]
    expected = torch.autograd.grad(from_all_of_own(*both, own_supports).square().sum(), both)
    found = torch.autograd.grad(selected_similarity(*both, own_supports).square().sum(), both)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other)


def test_second_derivatives_are_refused(problem):
    patches, prompts, support = problem
    score = selected_similarity(patches, prompts, support).square().sum()
    (first,) = torch.autograd.grad(score, prompts, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        first.sum().backward()


@pytest.mark.parametrize('own', [False, True], ids=['shared', 'own'])
def test_another_device_than_the_default_one(problem, own_supports, own: bool):
    patches, prompts, shared = (tensor.detach().to('meta') for tensor in problem)
    patches.requires_grad_(), prompts.requires_grad_()
    support = own_supports.to('meta') if own else shared
    found = selected_similarity(patches, prompts, support)
    gradients = torch.autograd.grad(found.sum(), (patches, prompts))
    assert found.shape == (B, C, K, N)
    assert [each.shape for each in gradients] == [patches.shape, prompts.shape]

"""The cache of text features: every change is noticed, and nothing is encoded twice."""

import pytest
import torch
from torch import nn

from sotglp_mm.models.prompt_text_encoder import TextFeatureCache

C, N, M, WIDTH = 7, 4, 2, 5


class CountingEncoder:
    """Doubles the prompts, and counts how often it was asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, prompts: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return 2 * prompts


@pytest.fixture
def encode() -> CountingEncoder:
    return CountingEncoder()


@pytest.fixture
def prompts() -> nn.Parameter:
    generator = torch.Generator().manual_seed(0)
    return nn.Parameter(torch.randn(C, N, M, WIDTH, generator=generator))


def assert_fresh(features: torch.Tensor, prompts: torch.Tensor) -> None:
    torch.testing.assert_close(features, 2 * prompts.detach(), rtol=0, atol=0)


def step(prompts: nn.Parameter) -> None:
    prompts.sum().backward()
    torch.optim.SGD([prompts], lr=0.1).step()


@pytest.mark.parametrize(
    'change',
    [
        lambda prompts: prompts.data.copy_(prompts.data + 1),
        lambda prompts: prompts.data[1, 0, 1].add_(1e-4),
        step,
    ],
    ids=['a copy in place', 'some numbers', 'a step'],
)
def test_a_change_is_noticed(encode, prompts, change):
    cache = TextFeatureCache()
    for _ in range(3):
        assert_fresh(cache.get(encode, prompts), prompts)
    assert encode.calls == 1
    assert not cache.get(encode, prompts).requires_grad
    change(prompts)
    assert_fresh(cache.get(encode, prompts), prompts)
    assert encode.calls == 2


def test_a_change_of_autocast_or_precision_is_noticed(encode, prompts):
    cache = TextFeatureCache()
    prompts.data = prompts.data.half().float()  # numbers that half precision holds
    cache.get(encode, prompts)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cache.get(encode, prompts)
        cache.get(encode, prompts)
        assert encode.calls == 2
    cache.get(encode, prompts)
    assert encode.calls == 3
    prompts.data = prompts.data.half()
    assert cache.get(encode, prompts).dtype == torch.float16
    assert encode.calls == 4
    cache.clear()
    cache.get(encode, prompts)
    assert encode.calls == 5

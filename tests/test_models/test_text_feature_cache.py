"""The cache of text features: every change is noticed, and nothing is encoded twice."""

import pytest
import torch
from torch import nn

from sotglp_mm.models.text_feature_cache import TextFeatureCache

G, N, M, WIDTH = 3, 4, 2, 5


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
def prompts() -> tuple[nn.Parameter, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return (
        nn.Parameter(torch.randn(G, M, WIDTH, generator=generator)),
        nn.Parameter(torch.randn(7, N, M, WIDTH, generator=generator)),
    )


def assert_fresh(features, prompts) -> None:
    for found, prompt in zip(features, prompts):
        torch.testing.assert_close(found, 2 * prompt.detach(), rtol=0, atol=0)


def test_unchanged_prompts_are_encoded_once(encode, prompts):
    cache = TextFeatureCache()
    for _ in range(3):
        assert_fresh(cache.get(encode, *prompts), prompts)
    assert encode.calls == 2  # global and local
    assert not any(features.requires_grad for features in cache.get(encode, *prompts))


def test_a_copy_in_place_is_noticed(encode, prompts):
    cache = TextFeatureCache()
    cache.get(encode, *prompts)
    prompts[1].data.copy_(prompts[1].data + 1)
    assert_fresh(cache.get(encode, *prompts), prompts)
    assert encode.calls == 4


def test_a_single_changed_number_is_noticed(encode, prompts):
    cache = TextFeatureCache()
    cache.get(encode, *prompts)
    prompts[0].data[1, 0, 3] += 1e-4
    assert_fresh(cache.get(encode, *prompts), prompts)


def test_an_optimizer_s_step_is_noticed(encode, prompts):
    cache = TextFeatureCache()
    cache.get(encode, *prompts)
    optimizer = torch.optim.SGD(prompts, lr=0.1)
    sum(prompt.sum() for prompt in prompts).backward()
    optimizer.step()
    assert_fresh(cache.get(encode, *prompts), prompts)


def test_a_change_of_autocast_is_noticed(encode, prompts):
    cache = TextFeatureCache()
    cache.get(encode, *prompts)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cache.get(encode, *prompts)
        cache.get(encode, *prompts)
        assert encode.calls == 4
    cache.get(encode, *prompts)
    assert encode.calls == 6


def test_absent_prompts_stay_absent(encode, prompts):
    cache = TextFeatureCache()
    for _ in range(2):
        features = cache.get(encode, prompts[0], None)
        assert features[1] is None
        assert_fresh(features[:1], prompts[:1])
    assert encode.calls == 1


def test_clear_forgets(encode, prompts):
    cache = TextFeatureCache()
    cache.get(encode, *prompts)
    cache.clear()
    cache.get(encode, *prompts)
    assert encode.calls == 4

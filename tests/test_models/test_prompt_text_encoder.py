"""Encoding prompts: equal to open_clip on templates, blind behind [EOT], and its limits."""

from pathlib import Path

import pytest
import torch
from small_clip import config_with, write_clip

from sotglp_mm.models import PromptTextEncoder
from sotglp_mm.models.clip_towers import ClipTowers, load_clip

NAMES = ['cat', 'grey-headed flying fox', 'boeing 737-800', 'ram']  # 1 to some 8 tokens
TEMPLATE = 'a photo of a'
C, N, M, WIDTH, D = len(NAMES), 3, 4, 16, 10


@pytest.fixture(scope='module')
def towers(tmp_path_factory) -> ClipTowers:
    return load_clip(**write_clip(tmp_path_factory.mktemp('clip')))


@pytest.fixture
def encoder(towers: ClipTowers) -> PromptTextEncoder:
    return PromptTextEncoder(towers, NAMES, M)


def contexts(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_templates_are_encoded_as_open_clip_does(towers, encoder):
    words = encoder.embed_context(TEMPLATE)
    assert words.shape == (M, WIDTH)
    found = encoder(words[None])
    assert found.shape == (C, 1, D)
    tokens = towers.tokenizer([f'{TEMPLATE} {name}' for name in NAMES])
    assert len({int(row.argmax()) for row in tokens}) > 2  # lengths do differ
    torch.testing.assert_close(found[:, 0], towers.clip.encode_text(tokens))


def test_a_context_of_another_length(towers):
    encoder = PromptTextEncoder(towers, NAMES, 2)
    found = encoder(encoder.embed_context('blurry photo')[None])[:, 0]
    tokens = towers.tokenizer([f'blurry photo {name}' for name in NAMES])
    torch.testing.assert_close(found, towers.clip.encode_text(tokens))


def test_each_class_is_encoded_on_its_own(towers, encoder):
    context = contexts(C, N, M, WIDTH)
    together = encoder(context)
    assert together.shape == (C, N, D)
    for c, name in enumerate(NAMES):
        alone = PromptTextEncoder(towers, [name], M)(context[c : c + 1])
        torch.testing.assert_close(together[c], alone[0], rtol=1e-4, atol=1e-5)


def test_what_stands_behind_eot_does_not_matter(encoder):
    context = contexts(N, M, WIDTH)
    expected = encoder(context)
    positions = torch.arange(encoder.suffix_tokens.shape[1]) + 1 + M
    behind = positions > encoder.eot_positions[:, None]
    assert behind.any()
    encoder.suffix_tokens[behind] = 320
    torch.testing.assert_close(encoder(context), expected, rtol=0, atol=0)
    # one position earlier it does
    encoder.suffix_tokens[positions == encoder.eot_positions[:, None]] = 320
    assert (encoder(context) - expected).abs().amax(dim=(1, 2)).min() > 1e-4


def test_shared_contexts_equal_expanded_ones(encoder):
    shared = contexts(N, M, WIDTH)
    found = encoder(shared)
    assert found.shape == (C, N, D)
    torch.testing.assert_close(found, encoder(shared.expand(C, N, M, WIDTH)))


def test_underscores_count_as_spaces(towers):
    context = contexts(N, M, WIDTH)
    one, other = (
        PromptTextEncoder(towers, [name], M)(context) for name in ('sea_lion', 'sea lion')
    )
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_gradient_reaches_the_context_and_nothing_else(towers, encoder):
    context = contexts(C, N, M, WIDTH).requires_grad_()
    encoder(context)[1].sum().backward()
    assert context.grad[1].abs().amax(dim=(1, 2)).min() > 0
    assert not context.grad[[0, 2, 3]].any()
    assert not list(encoder.parameters())
    assert all(parameter.grad is None for parameter in towers.clip.parameters())


def test_words_of_a_context_are_a_copy(towers, encoder):
    before = towers.clip.token_embedding.weight.clone()
    encoder.embed_context(TEMPLATE).zero_()
    assert torch.equal(towers.clip.token_embedding.weight, before)


def test_a_class_name_that_is_too_long_is_named(tmp_path: Path):
    towers = load_clip(**write_clip(tmp_path, config_with(text=dict(context_length=9))))
    fits, too_long = 'cat dog cow', 'cat dog cow ram'  # behind 4 tokens: 9 - 4 - 2 = 3
    assert PromptTextEncoder(towers, [fits], M)(contexts(N, M, WIDTH)).shape == (1, N, D)
    with pytest.raises(ValueError, match=rf"'{too_long}' takes 4 tokens.*room for 3"):
        PromptTextEncoder(towers, [fits, too_long], M)

"""Encoding prompts: equal to open_clip on templates, blind behind [EOT], and its limits."""

from pathlib import Path

import pytest
import torch
from small_clip import config_with, write_clip

from sotglp_mm.clip.load import ClipTowers, load_clip
from sotglp_mm.models import PromptTextEncoder, prompt_text_encoder

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
    words = encoder.towers.text.embed_words(TEMPLATE)
    assert words.shape == (M, WIDTH)
    found = encoder(words[None])
    assert found.shape == (C, 1, D)
    tokens = towers.text.tokenizer([f'{TEMPLATE} {name}' for name in NAMES])
    assert len({int(row.argmax()) for row in tokens}) > 2  # lengths do differ
    torch.testing.assert_close(found[:, 0], towers.clip.encode_text(tokens))


def test_a_context_of_another_length(towers):
    encoder = PromptTextEncoder(towers, NAMES, 2)
    found = encoder(encoder.towers.text.embed_words('blurry photo')[None])[:, 0]
    tokens = towers.text.tokenizer([f'blurry photo {name}' for name in NAMES])
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
    positions = torch.arange(encoder.suffix_tokens.shape[1])
    lengths = torch.tensor(encoder.lengths)[:, None]
    assert (positions >= lengths).any()
    encoder.suffix_tokens[positions >= lengths] = 320
    torch.testing.assert_close(encoder(context), expected, rtol=0, atol=0)
    # one position earlier it does
    encoder.suffix_tokens[positions == lengths - 1] = 320
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
    kept = PromptTextEncoder(towers, ['sea_lion'], M, keep_underscores=True)
    expected = [*towers.text.tokenizer.encode('sea_lion'), towers.text.tokenizer.eot_token_id]
    assert kept.suffix_tokens[0].tolist() == expected
    assert not torch.allclose(kept(context), one)


@pytest.fixture(params=[False, True], ids=['shared', 'own'])
def context(request) -> torch.Tensor:
    shape = (C, N, M, WIDTH) if request.param else (N, M, WIDTH)
    return contexts(*shape).requires_grad_()


def features_and_gradient(encoder, context) -> tuple[torch.Tensor, torch.Tensor]:
    features = encoder(context)
    weights = contexts(*features.shape)
    return features, torch.autograd.grad((features * weights).sum(), context)[0]


def test_equal_to_the_whole_context_of_the_tower(towers, encoder, context):
    """All 77 positions, every prompt on its own, by open_clip's blocks."""
    clip, features = towers.clip, []
    for c, name in enumerate(NAMES):
        tokens = towers.text.tokenizer(['x ' * M + name])
        own = context if context.ndim == 3 else context[c]
        x = clip.token_embedding(tokens).expand(N, -1, -1)
        x = torch.cat([x[:, :1], own, x[:, 1 + M :]], dim=1) + clip.positional_embedding
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask))
        features.append(x[:, tokens.argmax()] @ clip.text_projection)
    expected = torch.stack(features)
    weights = contexts(*expected.shape)
    expected_gradient = torch.autograd.grad((expected * weights).sum(), context)[0]
    found, gradient = features_and_gradient(encoder, context)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize('class_chunk', [1, 2, 3])
def test_chunks_change_nothing(towers, encoder, context, class_chunk: int):
    expected = features_and_gradient(encoder, context)
    chunked = PromptTextEncoder(towers, NAMES, M, class_chunk)
    for found, value in zip(features_and_gradient(chunked, context), expected):
        torch.testing.assert_close(found, value)


def test_chunks_are_encoded_again_in_the_same_precision(towers, context, monkeypatch):
    encoder = PromptTextEncoder(towers, NAMES, M, 3)
    run, dtypes = towers.text.run_suffix, []

    def watched(*args):
        features = run(*args)
        dtypes.append(features.dtype)
        return features

    monkeypatch.setattr(towers.text, 'run_suffix', watched)
    with torch.autocast('cpu', torch.bfloat16):
        features = encoder(context)
    features.float().sum().backward()
    assert dtypes == [torch.bfloat16] * 4  # two chunks, forward and again
    assert context.grad.isfinite().all() and context.grad.any()


def saved_bytes(encoder, context) -> int:
    """What autograd keeps beside the frozen weights."""
    weights = {p.untyped_storage().data_ptr() for p in encoder.towers.clip.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = encoder(context)
    assert features.requires_grad
    return sum(kept.values())


def test_chunks_keep_next_to_nothing_for_the_backward_pass(towers):
    names = [f'cat {i % 10}' for i in range(60)]
    context = contexts(len(names), N, M, WIDTH).requires_grad_()
    whole = saved_bytes(PromptTextEncoder(towers, names, M, None), context)
    chunked = saved_bytes(PromptTextEncoder(towers, names, M, 10), context)
    assert chunked - context.nbytes < 0.01 * whole  # the context is there in any case


def test_automatic_chunks_follow_the_limits(towers, monkeypatch):
    names = [f'cat {i % 10}' for i in range(12)]
    context = contexts(len(names), N, M, WIDTH).requires_grad_()
    encoder = PromptTextEncoder(towers, names, M)
    assert saved_bytes(encoder, context) == saved_bytes(
        PromptTextEncoder(towers, names, M, None), context
    )
    monkeypatch.setattr(prompt_text_encoder, 'ACTIVATION_BYTES', 1000)
    monkeypatch.setattr(prompt_text_encoder, 'CHUNK_BYTES', 1000)
    assert saved_bytes(encoder, context) == saved_bytes(
        PromptTextEncoder(towers, names, M, 1), context
    )


@pytest.mark.parametrize('class_chunk', [0, -1, 'all', 2.0, True])
def test_a_chunk_that_is_no_number_of_classes(towers, class_chunk):
    with pytest.raises(ValueError, match=rf'class_chunk={class_chunk!r}: expected a positive'):
        PromptTextEncoder(towers, NAMES, M, class_chunk)


def test_gradient_reaches_the_context_and_nothing_else(towers, encoder):
    context = contexts(C, N, M, WIDTH).requires_grad_()
    encoder(context)[1].sum().backward()
    assert context.grad[1].abs().amax(dim=(1, 2)).min() > 0
    assert not context.grad[[0, 2, 3]].any()
    assert not list(encoder.parameters())
    assert all(parameter.grad is None for parameter in towers.clip.parameters())


def test_words_of_a_context_are_a_copy(towers, encoder):
    before = towers.clip.token_embedding.weight.clone()
    encoder.towers.text.embed_words(TEMPLATE).zero_()
    assert torch.equal(towers.clip.token_embedding.weight, before)


def test_a_forward_pass_makes_no_index_from_a_list(encoder, monkeypatch):
    """Each would be a copy to the GPU, if that is where the prompts are."""
    context = contexts(C, N, M, WIDTH)
    encoder(context)
    monkeypatch.setattr(torch, 'tensor', None)
    seen = []
    getitem = torch.Tensor.__getitem__

    def watched(tensor, index):
        seen.extend(index if isinstance(index, tuple) else [index])
        return getitem(tensor, index)

    monkeypatch.setattr(torch.Tensor, '__getitem__', watched)
    encoder(context)
    encoder(context[0])
    assert seen and not any(isinstance(each, list) for each in seen)


def test_a_class_name_that_is_too_long_is_named(tmp_path: Path):
    towers = load_clip(**write_clip(tmp_path, config_with(text=dict(context_length=9))))
    fits, too_long = 'cat dog cow', 'cat dog cow ram'  # behind 4 tokens: 9 - 4 - 2 = 3
    assert PromptTextEncoder(towers, [fits], M)(contexts(N, M, WIDTH)).shape == (1, N, D)
    with pytest.raises(ValueError, match=rf"'{too_long}' takes 4 tokens.*room for 3"):
        PromptTextEncoder(towers, [fits, too_long], M)

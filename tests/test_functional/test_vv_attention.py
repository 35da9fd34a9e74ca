"""Both attentions of a block: per head against plain loops, projections by hand."""

import numpy as np
import pytest
import reference
import torch
from torch import nn

from sotglp_mm.functional import attend_with_values, dual_attention

B, L, HEADS, HEAD_WIDTH = 2, 5, 3, 4
W = HEADS * HEAD_WIDTH


@pytest.fixture
def attention() -> nn.MultiheadAttention:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attention = nn.MultiheadAttention(W, HEADS, batch_first=True).double()
        # they start as zeros, and zeros would hide a bias that is left out
        nn.init.normal_(attention.in_proj_bias)
        nn.init.normal_(attention.out_proj.bias)
    return attention.requires_grad_(False)


@pytest.fixture
def tokens() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.randn(B, L, W, generator=generator, dtype=torch.float64)


def by_hand(tokens: np.ndarray, attention: nn.MultiheadAttention, values_only: bool) -> np.ndarray:
    """One image (L, W) -> (L, W), head by head."""
    weight, bias = attention.in_proj_weight.numpy(), attention.in_proj_bias.numpy()
    query, key, value = (
        tokens @ weight[i * W : (i + 1) * W].T + bias[i * W : (i + 1) * W] for i in range(3)
    )
    if values_only:
        query = key = value
    heads = []
    for h in range(HEADS):
        part = slice(h * HEAD_WIDTH, (h + 1) * HEAD_WIDTH)
        heads.append(reference.attention(query[:, part], key[:, part], value[:, part]))
    out = attention.out_proj
    return np.concatenate(heads, axis=-1) @ out.weight.numpy().T + out.bias.numpy()


def test_value_value_attention_per_head():
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(B, HEADS, L, HEAD_WIDTH, generator=generator, dtype=torch.float64)
    found = attend_with_values(values)
    assert found.shape == (B, HEADS, L - 1, HEAD_WIDTH)
    for b in range(B):
        for h in range(HEADS):
            v = values[b, h].numpy()
            expected = reference.attention(v, v, v)[1:]
            torch.testing.assert_close(found[b, h], torch.from_numpy(expected))


def test_both_attentions_with_their_projections(tokens, attention):
    ordinary, value_value = dual_attention(tokens, attention)
    assert ordinary.shape == (B, L, W)
    assert value_value.shape == (B, L - 1, W)
    for b in range(B):
        one = tokens[b].numpy()
        expected = by_hand(one, attention, values_only=False)
        torch.testing.assert_close(ordinary[b], torch.from_numpy(expected))
        expected = by_hand(one, attention, values_only=True)[1:]
        torch.testing.assert_close(value_value[b], torch.from_numpy(expected))


def test_ordinary_attention_is_torch_s_own(tokens, attention):
    ordinary, _ = dual_attention(tokens, attention)
    torch.testing.assert_close(ordinary, attention(tokens, tokens, tokens)[0])


def test_class_token_only_is_row_0_of_the_full_one(tokens, attention):
    full, full_values = dual_attention(tokens, attention)
    row, values = dual_attention(tokens, attention, class_token_only=True)
    torch.testing.assert_close(row, full[:, :1])
    torch.testing.assert_close(values, full_values)


def test_class_token_is_attended_to(tokens, attention):
    changed = tokens.clone()
    changed[:, 0] += 1
    before, after = (dual_attention(t, attention)[1] for t in (tokens, changed))
    assert (before - after).abs().amax() > 1e-3

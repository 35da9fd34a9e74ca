"""The causal text tower in two parts: a prefix that many sequences share, and what follows it.

In a causal tower no position sees a later one. So a common beginning is run once, and the
sequences behind it need only its keys and values; and as one position of each is read, [EOT], the
last block computes its queries and its MLP for that position alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KeysAndValues = tuple[Tensor, Tensor]
"""Of one block: (r, h, L, d / h) each."""


def run_prefix(clip: nn.Module, embedded: Tensor) -> list[KeysAndValues]:
    """Keys and values of every block for the first positions of sequences.

    Args:
        clip: An open_clip CLIP with a plain causal text tower.
        embedded: (r, L, d), token embeddings without positions.

    Returns:
        list[KeysAndValues]: One entry for each block.
    """
    x = embedded + clip.positional_embedding[: embedded.shape[1]]
    blocks = clip.transformer.resblocks
    prefix = []
    for index, block in enumerate(blocks):
        query, key, value = _project(block, x)
        prefix.append((key, value))
        if index + 1 < len(blocks):
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = _finish(block, x, attended)
    return prefix


def run_suffix(clip: nn.Module, embedded: Tensor, prefix: list[KeysAndValues]) -> Tensor:
    """The last position's output behind a prefix, before the final LayerNorm.

    Args:
        clip: As in :func:`run_prefix`.
        embedded: (c, n, T, d), token embeddings without positions.
        prefix: Of :func:`run_prefix`, with r = n, or r = 1 for all.

    Returns:
        Tensor: (c, n, d).
    """
    num_classes, num_prompts, length, width = embedded.shape
    before = prefix[0][0].shape[2]
    x = embedded.flatten(0, 1) + clip.positional_embedding[before : before + length]
    blocks = clip.transformer.resblocks
    bias = _causal_bias(before, length, x)
    for index, block in enumerate(blocks):
        last = index + 1 == len(blocks)
        query, key, value = _project(block, x, last_query_only=last)
        key, value = (
            torch.cat([_repeat(old, num_classes, num_prompts), new], dim=2)
            for old, new in zip(prefix[index], (key, value))
        )
        attended = _attend(query, key, value, 0 if last else bias)
        x = _finish(block, x[:, -1:] if last else x, attended)
    return x.view(num_classes, num_prompts, width)


def activation_bytes(clip: nn.Module, positions: int) -> int:
    """About what autograd keeps in float32 to go back through the tower, for so many positions."""
    width = clip.transformer.width
    hidden = clip.transformer.resblocks[0].mlp.c_fc.out_features
    # a block keeps, for each position: two LayerNorms' inputs, the query, keys and values of the
    # prefix too, the attention's output, and the activation's input
    per_block = 8 * width + hidden
    return 4 * positions * per_block * len(clip.transformer.resblocks)


def _project(block: nn.Module, x: Tensor, last_query_only: bool = False) -> list[Tensor]:
    """Query, key and value, heads apart: (r, h, L, d / h)."""
    attention = block.attn
    width = attention.embed_dim
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    x = block.ln_1(x)
    if last_query_only:
        query = F.linear(x[:, -1:], weight[:width], bias[:width])
        key, value = F.linear(x, weight[width:], bias[width:]).chunk(2, dim=-1)
    else:
        query, key, value = F.linear(x, weight, bias).chunk(3, dim=-1)
    heads = attention.num_heads
    return [t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (query, key, value)]


def _finish(block: nn.Module, x: Tensor, attended: Tensor) -> Tensor:
    """What a block adds once attention is known; heads are merged here."""
    x = x + block.ls_1(block.attn.out_proj(attended.transpose(1, 2).flatten(-2)))
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def _repeat(prefix: Tensor, num_classes: int, num_prompts: int) -> Tensor:
    """(n or 1, h, L, w) -> (c * n, h, L, w)."""
    expanded = prefix.expand(num_classes, num_prompts, *prefix.shape[1:])
    return expanded.flatten(0, 1)


def _causal_bias(before: int, length: int, like: Tensor) -> Tensor:
    """Added to the scores (length, before + length): -inf where a position would look ahead."""
    bias = torch.full((length, before + length), float('-inf'), device=like.device)
    return bias.triu(diagonal=before + 1)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | float) -> Tensor:
    """Attention of very many, very short sequences: a fused kernel takes twice as long here."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2) + bias
    return scores.softmax(dim=-1).to(value.dtype) @ value

"""Ordinary and value-value attention of one ViT block, over shared projections.

Value-value attention lets a token gather from tokens whose *values* resemble its own, so a patch
keeps speaking of what lies on it; ordinary attention of a contrastive ViT does not.
"""

import torch.nn.functional as F
from torch import Tensor, nn


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, L, W) -> (B, h, L, W / h)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, h, L, W / h) -> (B, L, W)."""
    return x.transpose(1, 2).flatten(-2)


def attend_with_values(values: Tensor) -> Tensor:
    """``softmax(v v^T / sqrt(width)) v`` of values (B, h, L, W / h): (B, h, L - 1, W / h).

    [CLS], at 0, is attended to, but asks nothing: its row is dropped at the end of the stream.
    """
    return F.scaled_dot_product_attention(values[:, :, 1:], values, values)


def dual_attention(
    tokens: Tensor, attention: nn.MultiheadAttention, class_token_only: bool = False
) -> tuple[Tensor, Tensor]:
    """Both attentions of one block, from one set of projections.

    Args:
        tokens: (B, 1 + P, W), after the block's first LayerNorm, [CLS] first.
        attention: The block's frozen attention, with a packed input projection.
        class_token_only: Compute the ordinary attention for [CLS] alone. In the last block
            nothing else of the ordinary stream is used.

    Returns:
        tuple[Tensor, Tensor]: ordinary attention (B, 1 + P, W), or (B, 1, W) with
        ``class_token_only``, and value-value attention of the patches (B, P, W); both after the
        output projection.
    """
    width, num_heads = attention.embed_dim, attention.num_heads
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    queries_from = tokens[:, :1] if class_token_only else tokens
    query = F.linear(queries_from, weight[:width], bias[:width])
    key, value = F.linear(tokens, weight[width:], bias[width:]).chunk(2, dim=-1)
    query, key, value = (split_heads(x, num_heads) for x in (query, key, value))

    ordinary = F.scaled_dot_product_attention(query, key, value)
    project = attention.out_proj
    return project(merge_heads(ordinary)), project(merge_heads(attend_with_values(value)))

"""CLIP's frozen text tower, in two parts: a prefix that many sequences share, and what follows.

In a causal tower no position sees a later one. So a common beginning is run once, and the
sequences behind it need only its keys and values; and as one position of each is read, [EOT], the
last block computes its queries and its MLP for that position alone.
"""

from collections.abc import Sequence
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from ..functional.vv_attention import merge_heads, split_heads

KeysAndValues = tuple[Tensor, Tensor]
"""Of one block: (r, h, L, d / h) each."""


class TextTower:
    """What the package needs of open_clip's causal text tower, frozen, in eval mode."""

    def __init__(self, clip: open_clip.CLIP, tokenizer: open_clip.SimpleTokenizer) -> None:
        self._clip = clip
        self.tokenizer = tokenizer

    @property
    def width(self) -> int:
        """d."""
        return self._clip.transformer.width

    @property
    def context_length(self) -> int:
        """Positions of a sequence, [SOS] and [EOT] among them."""
        return self._clip.context_length

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids (...) to their embeddings (..., d)."""
        return self._clip.token_embedding(tokens)

    def embed_start(self) -> Tensor:
        """The embedding of [SOS], (1, 1, d)."""
        return self._clip.token_embedding.weight[self.tokenizer.sot_token_id].view(1, 1, -1)

    def embed_words(self, text: str) -> Tensor:
        """Token embeddings (M, d) of a text without [SOS] and [EOT], a copy."""
        return self._clip.token_embedding.weight[self.tokenizer.encode(text)].detach().clone()

    def run_prefix(self, embedded: Tensor) -> list[KeysAndValues]:
        """Keys and values of every block for the first positions of sequences.

        Args:
            embedded: (r, L, d), token embeddings without positions.
        """
        x = embedded + self._clip.positional_embedding[: embedded.shape[1]]
        blocks = self._clip.transformer.resblocks
        prefix = []
        for index, block in enumerate(blocks):
            query, key, value = (split_heads(t, block.attn.num_heads) for t in _project(block, x))
            prefix.append((key, value))
            if index + 1 < len(blocks):
                attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
                x = _finish(block, x, merge_heads(attended))
        return prefix

    def run_suffix(self, groups: list[Tensor], prefix: list[KeysAndValues]) -> Tensor:
        """Text features of sequences behind a prefix, read at their last position.

        Sequences of one length form a group. Attention runs group by group, everything else over
        the positions of all groups at once: a matrix product of few rows costs nearly as much as
        of many.

        Args:
            groups: (c, n, T, d) each, token embeddings without positions; c and T differ.
            prefix: Of :meth:`run_prefix`, with r = n, or r = 1 for all.

        Returns:
            Tensor: (sum of c, n, D), not normalised.
        """
        before = prefix[0][0].shape[2]
        positions = self._clip.positional_embedding[before:]
        x = torch.cat([(g + positions[: g.shape[2]]).flatten(0, 2) for g in groups])
        sizes = [g.shape[:3] for g in groups]
        # added to the scores: -inf where a position would look ahead
        biases = [
            torch.full((length, before + length), -torch.inf, device=x.device).triu(before + 1)
            for _, _, length in sizes
        ]
        *inner, last = zip(self._clip.transformer.resblocks, prefix)
        for block, past in inner:
            query, key, value = (_by_group(t, sizes) for t in _project(block, x))
            attended = [
                _attend(q, _behind(past[0], k, size), _behind(past[1], v, size), bias)
                for q, k, v, size, bias in zip(query, key, value, sizes, biases)
            ]
            x = _finish(block, x, torch.cat([merge_heads(a).flatten(0, 1) for a in attended]))
        x = self._clip.ln_final(_read(*last, x, sizes)).unflatten(0, (-1, sizes[0][1]))
        return x @ self._clip.text_projection

    def activation_bytes(self, positions: int) -> int:
        """About what autograd keeps in float32 to go back through so many positions."""
        blocks = self._clip.transformer.resblocks
        # a block keeps, for each position: two LayerNorms' inputs, the query, keys and values of
        # the prefix too, the attention's output, and the activation's input
        per_block = 8 * self.width + blocks[0].mlp.c_fc.out_features
        return 4 * positions * per_block * len(blocks)


def _read(block: Any, past: KeysAndValues, x: Tensor, sizes: list) -> Tensor:
    """The last block, of which nothing but each sequence's last position is used: (c * n, d)."""
    normed = block.ln_1(x)
    ends, normed_ends = (
        torch.cat([t[:, -1] for t in _by_group(rows, sizes)]) for rows in (x, normed)
    )
    ones = [(c, n, 1) for c, n, _ in sizes]
    width = block.attn.embed_dim
    query = _by_group(_linear(block, normed_ends, 0, width), ones)
    key, value = (
        _by_group(t, sizes) for t in _linear(block, normed, width, 3 * width).chunk(2, dim=-1)
    )
    attended = [
        _attend(q, _behind(past[0], k, size), _behind(past[1], v, size))
        for q, k, v, size in zip(query, key, value, sizes)
    ]
    return _finish(block, ends, torch.cat([merge_heads(a)[:, 0] for a in attended]))


def _linear(block: Any, x: Tensor, start: int, stop: int) -> Tensor:
    """Rows ``start`` to ``stop`` of the packed input projection; heads side by side."""
    attention = block.attn
    return F.linear(x, attention.in_proj_weight[start:stop], attention.in_proj_bias[start:stop])


def _project(block: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value (..., d)."""
    query, key, value = _linear(block, block.ln_1(x), 0, 3 * block.attn.embed_dim).chunk(3, dim=-1)
    return query, key, value


def _by_group(x: Tensor, sizes: list) -> list[Tensor]:
    """Rows of all groups -> (c * n, T, d) of each."""
    rows = x.split([c * n * length for c, n, length in sizes])
    return [t.unflatten(0, (-1, length)) for t, (_, _, length) in zip(rows, sizes)]


def _finish(block: Any, x: Tensor, attended: Tensor) -> Tensor:
    """What a block adds once attention is known."""
    x = x + block.ls_1(block.attn.out_proj(attended))
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def _behind(prefix: Tensor, own: Tensor, size: Sequence[int]) -> Tensor:
    """Keys or values of a group behind those of its prefix: (c * n, h, L + T, d / h)."""
    num_classes, num_prompts, _ = size
    old = prefix.expand(num_classes, num_prompts, *prefix.shape[1:]).flatten(0, 1)
    return torch.cat([old, split_heads(own, prefix.shape[1])], dim=2)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | float = 0) -> Tensor:
    """Queries (r, T, d), keys and values (r, h, L + T, d / h) -> (r, h, T, d / h)."""
    # of very many, very short sequences: a fused kernel takes twice as long here
    query = split_heads(query, key.shape[1]) * key.shape[-1] ** -0.5
    scores = query @ key.transpose(-1, -2) + bias
    return scores.softmax(dim=-1).to(value.dtype) @ value

"""The sparse support: which K patches of an image speak for a class.

All N prompts of a class share one support. (GalLoP gives every prompt its own top-k, and the sets
overlap; one shared set leaves the division to optimal transport.)
"""

import torch
from torch import Tensor

from .exporting import is_exporting

RANKS = ('mean', 'max', 'logsumexp')
SOFT_MAX_TEMPERATURE = 0.05
"""Cosine units of the soft maximum of ``rank='logsumexp'``."""


def rank_patches(patches: Tensor, prompts: Tensor, rank: str = 'mean') -> Tensor:
    """Score every patch for every class.

    Args:
        patches: (B, P, D), unit length.
        prompts: (C, N, D), unit length.
        rank: How a patch's N similarities become one number. ``'mean'`` asks what all prompts
            like (the paper); ``'max'`` and ``'logsumexp'`` (a soft maximum) also admit a patch
            that one prompt fits and the others do not.

    Returns:
        Tensor: (B, P, C).

    Raises:
        ValueError: ``rank`` is not one of :data:`RANKS`.
    """
    if rank == 'mean':
        # the mean of dot products is the dot product with the mean: no (B, P, C, N) tensor
        return _products(patches, prompts.mean(dim=1)).transpose(1, 2)
    if rank in RANKS:
        # N in front of C and P: reductions over it then run along whole vectors
        texts = prompts.transpose(0, 1)
        unit = SOFT_MAX_TEMPERATURE if rank == 'logsumexp' else 1
        every = _products(patches, texts.flatten(0, 1) / unit).unflatten(1, texts.shape[:2])
        reduced = every.amax(dim=1) if rank == 'max' else torch.logsumexp(every, dim=1) * unit
        return reduced.transpose(1, 2)
    raise ValueError(f'rank={rank!r} is not known; choose one of {RANKS}')


def _products(patches: Tensor, texts: Tensor) -> Tensor:
    """(B, T, P) of patches (B, P, D) and texts (T, D), a matrix product for each image."""
    return torch.bmm(texts.expand(patches.shape[0], -1, -1), patches.transpose(1, 2))


def select_support(scores: Tensor, k: int) -> Tensor:
    """The K best patches of each image for each class.

    Args:
        scores: (B, P, C), from :func:`rank_patches`.
        k: Patches to keep, 1 <= k <= P.

    Returns:
        Tensor: int64 (B, C, K), indices of patches, best first; of equal scores (compared in
        float32) the lower index. An exported program may take either.

    Raises:
        ValueError: There are fewer than ``k`` patches.
    """
    num_patches = scores.shape[1]
    if not 1 <= k <= num_patches:
        raise ValueError(
            f'k={k} patches were asked for, but an image has {num_patches}; '
            f'set k of SparsePatchSelector to a number from 1 to {num_patches}'
        )
    keys = scores.transpose(1, 2)
    # ONNX cannot read the bits of a float; there, TopK takes the lower index by itself
    return (keys if is_exporting() else _unique_keys(keys)).topk(k, dim=-1).indices


def _unique_keys(scores: Tensor) -> Tensor:
    """int64 numbers that order as the scores do, and of equal scores the lower index first."""
    # topk breaks ties as it likes, another way on every device; a stable sort takes far longer
    # + 0.0 makes -0.0 a 0.0; the bits of a float, read as an integer, are sign and magnitude
    bits = (scores.float() + 0.0).contiguous().view(torch.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    index = torch.arange(scores.shape[-1], device=scores.device)
    return bits.long().bitwise_left_shift_(31).sub_(index)

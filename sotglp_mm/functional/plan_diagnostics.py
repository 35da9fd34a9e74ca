"""What a plan says: how far it is from even, how far prompts share patches, what it separates."""

import math

import torch
from torch import Tensor


def plan_entropy(plan: Tensor) -> Tensor:
    """Entropy of plans (..., K, N) over that of the uniform plan: 1 is even, smaller is decided.

    A balanced plan of K patches and N prompts that gives each patch to one prompt has
    ``max(log K, log N) / (log K + log N)``.
    """
    size = plan.shape[-1] * plan.shape[-2]
    entropy = -torch.special.xlogy(plan, plan).sum(dim=(-2, -1))
    return entropy / math.log(size) if size > 1 else torch.ones_like(entropy)


def prompt_overlap(plan: Tensor) -> Tensor:
    """Part of their patches that two prompts of a plan (..., K, N) share, averaged over pairs.

    0 is apart, 1 the same, also of one prompt alone; masses count as distributions over patches.
    """
    share = plan / plan.sum(dim=-2, keepdim=True).clamp_min(torch.finfo(plan.dtype).tiny)
    return _mean_of_pairs(torch.minimum(share[..., :, None], share[..., None, :]).sum(dim=-3))


def mean_cosine(features: Tensor) -> Tensor:
    """Mean cosine of pairs of a class's prompts, unit features (..., N, D); 1 of one alone."""
    return _mean_of_pairs(features @ features.transpose(-2, -1))


def _mean_of_pairs(values: Tensor) -> Tensor:
    """Mean of (..., N, N) beside the diagonal."""
    count = values.shape[-1]
    if count == 1:
        return values.new_ones(values.shape[:-2])
    off_diagonal = values.sum(dim=(-2, -1)) - values.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return off_diagonal / (count * (count - 1))


def part_information(plan: Tensor, part: Tensor) -> float:
    """How well prompts and true parts go together: 0 not at all, 1 as well as they can.

    Mutual information of prompt and part, of the mass of a plan (K, N) that lies on parts, over
    the smaller of their entropies; ``part``, int (K,), is the number of the part that a patch
    shows, or -1. NaN where less than two parts were selected.
    """
    parts = part[part >= 0].unique()
    if len(parts) < 2 or plan.shape[-1] < 2:
        return math.nan
    table = torch.stack([plan[part == which].sum(dim=0) for which in parts]).double()
    table = table / table.sum()
    rows, columns = table.sum(dim=1), table.sum(dim=0)
    smaller = min(_entropy(rows), _entropy(columns))
    information = _entropy(rows) + _entropy(columns) - _entropy(table)
    return max(float(information / smaller), 0.0) if smaller > 0 else 0.0  # rounding


def _entropy(mass: Tensor) -> Tensor:
    return -torch.special.xlogy(mass, mass).sum()

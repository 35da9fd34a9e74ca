"""What a plan says: how far it is from even, how far prompts share patches, what it separates."""

import math

import torch
from torch import Tensor


def plan_entropy(plan: Tensor) -> Tensor:
    """Entropy over that of the uniform plan: 1 is even, smaller is decided.

    A balanced plan of K patches and N prompts that gives each patch to one prompt has
    ``max(log K, log N) / (log K + log N)``.

    Args:
        plan: (..., K, N), total mass 1.

    Returns:
        Tensor: (...).
    """
    size = plan.shape[-1] * plan.shape[-2]
    entropy = -torch.special.xlogy(plan, plan).sum(dim=(-2, -1))
    return entropy / math.log(size) if size > 1 else torch.ones_like(entropy)


def prompt_overlap(plan: Tensor) -> Tensor:
    """Part of their patches that two prompts share, averaged over pairs: 0 apart, 1 the same.

    Args:
        plan: (..., K, N); each prompt's mass is compared as a distribution over patches.

    Returns:
        Tensor: (...); 1 where there is one prompt alone.
    """
    count = plan.shape[-1]
    if count == 1:
        return plan.new_ones(plan.shape[:-2])
    share = plan / plan.sum(dim=-2, keepdim=True).clamp_min(torch.finfo(plan.dtype).tiny)
    both = torch.minimum(share[..., :, None], share[..., None, :]).sum(dim=-3)
    off_diagonal = both.sum(dim=(-2, -1)) - both.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return off_diagonal / (count * (count - 1))


def mean_cosine(features: Tensor) -> Tensor:
    """Mean cosine of pairs of a class's prompts: near 1 they say the same.

    Args:
        features: (..., N, D), unit length.

    Returns:
        Tensor: (...); 1 where there is one prompt alone.
    """
    count = features.shape[-2]
    if count == 1:
        return features.new_ones(features.shape[:-2])
    cosines = features @ features.transpose(-2, -1)
    off_diagonal = cosines.sum(dim=(-2, -1)) - cosines.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return off_diagonal / (count * (count - 1))


def part_information(plan: Tensor, part: Tensor) -> float:
    """How well prompts and true parts go together: 0 not at all, 1 as well as they can.

    Mutual information of prompt and part, of the mass that lies on parts, over the smaller of
    their entropies.

    Args:
        plan: (K, N).
        part: int (K,), the number of the part that a patch shows, or -1.

    Returns:
        float: NaN where less than two parts were selected.
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

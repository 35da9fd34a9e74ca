"""What the head reads out of DataSamples, and what it writes into them beside its scores."""

from collections.abc import Sequence

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from ..structures import (
    ALLOCATION_PLAN,
    ALLOCATION_SUPPORT,
    COMPETING_LABELS,
    NUM_PATCHES,
    PROMPT_COSINE,
    SIMILARITY_SPREAD,
    Allocation,
)


def competing_classes(
    data_samples: Sequence[DataSample | None] | None, num_classes: int
) -> Tensor | None:
    """Which classes compete for which image: in some sets only some of the classes occur.

    Bool (B, C) on the CPU; None where no sample has ``competing_labels`` (metainfo): all compete.
    """
    asked = [
        None if sample is None else sample.get(COMPETING_LABELS) for sample in data_samples or ()
    ]
    if all(labels is None for labels in asked):
        return None
    keys = [None if labels is None else tuple(labels) for labels in asked]
    # a batch has one or two sets: each mask is made once
    masks = {key: _mask(key, num_classes) for key in set(keys)}
    return torch.stack([masks[key] for key in keys])


def leave_out_others(logits: Tensor, competing: Tensor | None) -> Tensor:
    """(B, C): logits of classes that do not compete become -inf, so their probability is 0."""
    if competing is None:
        return logits
    return logits.masked_fill(~competing.to(logits.device), -torch.inf)


def set_allocation(
    samples: Sequence[DataSample], found: Allocation, prompt_cosines: Tensor, num_patches: int
) -> None:
    """Write into B samples what :class:`AllocationMetric` reads, of one class for each image.

    ``prompt_cosines`` (B,): mean cosine of pairs of that class's local text features.
    """
    fields = (ALLOCATION_SUPPORT, ALLOCATION_PLAN, PROMPT_COSINE, SIMILARITY_SPREAD)
    spreads = found.similarity.flatten(1).std(dim=-1, correction=0)
    for sample, *values in zip(samples, found.support, found.plan, prompt_cosines, spreads):
        for field, value in zip(fields, values):
            sample.set_field(value, field)
        sample.set_field(num_patches, NUM_PATCHES, field_type='metainfo')


def _mask(labels: tuple[int, ...] | None, num_classes: int) -> Tensor:
    if labels is None:
        return torch.ones(num_classes, dtype=torch.bool)
    outside = [label for label in labels if not 0 <= label < num_classes]
    if outside or not labels:
        found = f'has label {outside[0]}' if outside else 'is empty'
        raise ValueError(
            f'competing_labels of a sample {found}; the head knows labels 0..{num_classes - 1}. '
            "Correct metainfo['competing_labels'] of the dataset."
        )
    mask = torch.zeros(num_classes, dtype=torch.bool)
    mask[list(labels)] = True
    return mask

"""How an image's class divides its patches, as DataSample fields."""

from collections.abc import Sequence

from mmpretrain.structures import DataSample
from torch import Tensor

from ..structures import (
    ALLOCATION_PLAN,
    ALLOCATION_SUPPORT,
    NUM_PATCHES,
    PROMPT_COSINE,
    SIMILARITY_SPREAD,
    Allocation,
)


def set_allocation(
    samples: Sequence[DataSample], found: Allocation, prompt_cosines: Tensor, num_patches: int
) -> None:
    """Write the fields that :class:`AllocationMetric` reads.

    Args:
        samples: B of them; changed in place.
        found: Of one class for each image.
        prompt_cosines: (B,), mean cosine of pairs of that class's local text features.
        num_patches: P.
    """
    fields = (ALLOCATION_SUPPORT, ALLOCATION_PLAN, PROMPT_COSINE, SIMILARITY_SPREAD)
    spreads = found.similarity.flatten(1).std(dim=-1, correction=0)
    for sample, *values in zip(samples, found.support, found.plan, prompt_cosines, spreads):
        for field, value in zip(fields, values):
            sample.set_field(value, field)
        sample.set_field(num_patches, NUM_PATCHES, field_type='metainfo')

"""What optimal transport does: how decided, how disjoint, how true the division of patches is."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS
from torch import Tensor

from ..functional import TOLERANCE, part_information, plan_entropy, prompt_overlap
from ..structures import (
    ALLOCATION_PLAN,
    ALLOCATION_SUPPORT,
    NUM_PATCHES,
    PROMPT_COSINE,
    SIMILARITY_SPREAD,
)
from ..utils.settings import checked_settings

ITEMS = ('entropy', 'overlap', 'prompt_cosine', 'spread', 'part_information', 'balanced')


@METRICS.register_module()
@checked_settings
class AllocationMetric(BaseMetric):
    """Means, over images, of what the plan of the image's class looks like.

    Behind a head with ``report_allocation=True``. Logged as

    - ``allocation/entropy``: of the plan, over that of the uniform plan (1: transport does
      nothing);
    - ``allocation/overlap``: part of their patches that two prompts share;
    - ``allocation/prompt_cosine``: of pairs of the class's local text features;
    - ``allocation/spread``: standard deviation of the K x N cosines that the plan is made from. An
      ``epsilon`` well above it makes any plan even;
    - ``allocation/part_information``: where samples have the metainfo ``parts`` (the demo's
      scenes), how well prompts and true parts of the class go together; over the images in
      which two parts or more were selected;
    - ``allocation/balanced``: part of the images whose plan takes 1/K from every patch, to 1e-2 in
      sum. If it is not near 1 with ``OTAllocationLoss``, ``max_iters`` is too small for that
      ``epsilon``. (A capped plan is not balanced, and need not be.)

    See :func:`plan_entropy`, :func:`prompt_overlap` and :func:`part_information`. Arguments are
    those of MMEngine's ``BaseMetric``; ``prefix`` defaults to 'allocation'.
    """

    def __init__(self, prefix: str = 'allocation', **kwargs: Any) -> None:
        super().__init__(prefix=prefix, **kwargs)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            if ALLOCATION_PLAN not in sample or not len(sample.get('gt_label', ())):
                self.results.append(())  # every image needs its place, see BranchAccuracy
                continue
            plan, support = sample[ALLOCATION_PLAN].cpu(), sample[ALLOCATION_SUPPORT].cpu()
            if support.ndim == 1:  # (K,), or (K, N)
                support = support[:, None].expand_as(plan)
            empty = plan.new_zeros(sample[NUM_PATCHES], plan.shape[1])
            on_patches = empty.scatter_add(0, support, plan)  # (P, N)
            row_error = (plan.float().sum(dim=-1) - 1 / len(plan)).abs().sum()
            information = math.nan
            if 'parts' in sample:
                information = part_information(on_patches, part_of_patches(sample))
            prompts = sample[PROMPT_COSINE], sample[SIMILARITY_SPREAD]
            values = plan_entropy(plan), prompt_overlap(on_patches), *prompts, information
            self.results.append(tuple(map(float, (*values, row_error <= TOLERANCE))))

    def compute_metrics(self, results: list) -> dict[str, float]:
        table = np.array([result for result in results if result]).reshape(-1, len(ITEMS))
        columns = {item: column[~np.isnan(column)] for item, column in zip(ITEMS, table.T)}
        return {item: float(values.mean()) for item, values in columns.items() if len(values)}


def part_of_patches(sample: dict) -> Tensor:
    """Which of the class's ``parts`` covers the centre of each patch: int64 (P,), -1 for none."""
    side = math.isqrt(sample[NUM_PATCHES])
    height, width = sample['img_shape'][:2]
    index = torch.arange(side * side)
    x = (index % side + 0.5) * width / side
    y = (index // side + 0.5) * height / side
    found = torch.full((side * side,), -1)
    for number, part in enumerate(part for part in sample['parts'] if part['of_class']):
        x0, y0, x1, y1 = part['box']
        found[(x >= x0) & (x < x1) & (y >= y0) & (y < y1)] = number
    return found

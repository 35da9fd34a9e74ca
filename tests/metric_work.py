"""What a process does in the tests of gathered metrics; other processes import it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.dataset import DefaultSampler
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample
from process_group import join_group, leave_group

from sotglp_mm.models.sample_fields import set_allocation
from sotglp_mm.structures import Allocation

SET_NAMES = ('known', 'near', 'far')
SETS = ['known'] * 5 + ['near'] * 3 + ['far'] * 3  # 11: two processes cannot share evenly
LABELS = [0, 1, 2, 2, 3, 1, 1, 0, None, None, None]
META = dict(set_names=SET_NAMES)
OF_SETS = [
    dict(type='OODMetric'),
    dict(type='OODMetric', id_set='near', ood_sets=['far'], methods=['mcm'], prefix='other'),
]
OF_LABELS = [
    dict(type='BranchAccuracy', branch='combined', items=['top1', 'top2', 'mean_class']),
    dict(type='BranchAccuracy', branch='global'),
    dict(type='BranchAccuracy', branch='local'),
    dict(type='AllocationMetric'),
]


def samples() -> list[dict]:
    """Predictions of 11 images in three sets, two of which have labels; no local branch."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for name, label in zip(SETS, LABELS):
        sample = DataSample(metainfo=dict(set_name=name, ood_tau=0.01))
        sample.set_gt_label([] if label is None else label)
        sample.set_pred_score(torch.rand(4, generator=generator))
        sample.set_field(torch.rand(4, generator=generator), 'pred_score_global')
        for field in ('ood_mcm', 'ood_gl_mcm'):
            # few values: ties within and between sets
            sample.set_field(-torch.randint(6, (), generator=generator) / 6, field)
        plan = torch.rand(3, 2, generator=generator)  # three of nine patches, two prompts
        found = Allocation(torch.tensor([[1, 4, 8]]), plan[None] / plan.sum(), plan[None])
        set_allocation([sample], found, torch.rand(1, generator=generator), 9)
        made.append(sample.to_dict())
    return made


@dataclass
class Case:
    """Images of a test set, how they are shared out, and metrics."""

    images: list[int]
    metrics: list[dict]
    round_up: bool = True


def evaluate(case: Case, rows: list[int]) -> dict:
    """All metrics of these rows of the case's images, batches of two, gathered."""
    found, every = {}, samples()
    for config in case.metrics:
        metric = METRICS.build(config)
        metric.dataset_meta = META
        for start in range(0, len(rows), 2):
            metric.process({}, [every[case.images[row]] for row in rows[start : start + 2]])
        values = metric.evaluate(len(case.images))
        assert not found.keys() & values.keys()
        found |= values
    return found


def work(rank: int, world: int, folder: str, cases: dict[str, Case]) -> None:
    os.chdir(folder)  # MMEngine gathers through files below the current folder
    join_group(rank, world, folder)
    saved = {}
    for name, case in cases.items():
        rows = list(DefaultSampler(case.images, shuffle=False, round_up=case.round_up))
        saved[name] = dict(rows=rows, found=evaluate(case, rows))
    Path(f'{rank}.json').write_text(json.dumps(saved))
    leave_group()

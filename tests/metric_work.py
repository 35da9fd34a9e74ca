"""What a process does in the tests of gathered metrics; spawned processes import it."""

import json
import os
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.dataset import DefaultSampler
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample

import sotglp_mm  # noqa: F401  registers the parts

SET_NAMES = ('known', 'near', 'far')
SETS = ['known'] * 5 + ['near'] * 3 + ['far'] * 3  # 11: two processes cannot share evenly
LABELS = [0, 1, 2, 2, 3, 1, 1, 0, None, None, None]
META = dict(set_names=SET_NAMES)
METRIC_CONFIGS = [
    dict(type='OODMetric'),
    dict(type='OODMetric', id_set='near', ood_sets=['far'], methods=['mcm'], prefix='other'),
    dict(type='BranchAccuracy', branch='combined', items=['top1', 'top2', 'mean_class']),
    dict(type='BranchAccuracy', branch='global'),
    dict(type='BranchAccuracy', branch='local'),
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
        made.append(sample.to_dict())
    return made


def evaluate(rows: list[int]) -> dict:
    """All metrics of these rows, batches of two, gathered."""
    found, every = {}, samples()
    for config in METRIC_CONFIGS:
        metric = METRICS.build(config)
        metric.dataset_meta = META
        for start in range(0, len(rows), 2):
            metric.process({}, [every[row] for row in rows[start : start + 2]])
        values = metric.evaluate(len(every))
        assert not found.keys() & values.keys()
        found |= values
    return found


def work(rank: int, world: int, folder: str) -> None:
    os.chdir(folder)  # MMEngine gathers through files below the current folder
    torch.set_num_threads(1)
    dist.init_process_group('gloo', f'file://{folder}/store', rank=rank, world_size=world)
    rows = list(DefaultSampler(SETS, shuffle=False))
    Path(f'{rank}.json').write_text(json.dumps(dict(rows=rows, found=evaluate(rows))))
    dist.destroy_process_group()

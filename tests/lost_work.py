"""What processes do that end, hang, or lose another one; those processes import it."""

import json
import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS, METRICS
from process_group import join_group
from torch.nn.parallel import DistributedDataParallel

from sotglp_mm.engine import explaining_lost_process
from sotglp_mm.models.class_shards import gather_shards

LOST = 1
TIMEOUT = 4


def text_features() -> None:
    """As in a training step with shared-out classes."""
    features = torch.ones(1, 2, requires_grad=True)
    gather_shards(features, torch.tensor([0]), num_classes=3).sum().backward()


def gradients() -> None:
    """As in any training step."""
    DistributedDataParallel(torch.nn.Linear(2, 2))(torch.ones(1, 2)).sum().backward()


def metrics() -> None:
    """As at the end of a test."""
    metric = METRICS.build(dict(type='BranchAccuracy', branch='combined'))
    metric.process({}, [dict(gt_label=torch.tensor([0]), pred_score=torch.eye(2)[0])])
    metric.evaluate(3)


def die(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(folder: Path) -> None:
    """Until the others are through."""
    while len(list(folder.glob('*.json'))) < 2:
        time.sleep(0.1)


STEPS = {step.__name__: step for step in (text_features, gradients, metrics)}
WAYS = {way.__name__: way for way in (die, hang)}


def work(rank: int, world: int, folder: str, step: str, way: str) -> None:
    """Two steps, before the second of which one is lost; what the others say, and when."""
    os.chdir(folder)
    join_group(rank, world, folder, timeout=timedelta(seconds=TIMEOUT))
    STEPS[step]()
    if rank == LOST:
        WAYS[way](Path(folder))
        return
    began = time.monotonic()
    try:
        with explaining_lost_process():
            STEPS[step]()
    except RuntimeError as error:
        said = dict(message=str(error), seconds=time.monotonic() - began)
        Path(f'{rank}.part').write_text(json.dumps(said))
        Path(f'{rank}.part').rename(f'{rank}.json')


@HOOKS.register_module()
class DyingProcessHook(Hook):
    """In the second process, before the fifth step.

    Args:
        way (str): 'hang', or 'live'.
    """

    def __init__(self, way: str):
        self.way = way

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Stop."""
        if runner.iter == 4 and get_rank() == 1 and self.way == 'hang':
            time.sleep(300)

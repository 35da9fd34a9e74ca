"""What a process does in the tests of runs with few images; other processes import it."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from process_group import join_group, leave_group
from torch.utils.data import DataLoader

from sotglp_mm.datasets.epoch_sampler import EpochSampler
from sotglp_mm.engine import prepare_cpu_processes


def prepared(path: str, **options) -> Config:
    """A config as the tools make it; ``__`` in an option stands for a dot."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict({name.replace('__', '.'): value for name, value in options.items()})
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].setdefault('collate_fn', dict(type='default_collate'))
    return cfg


def train_and_test(rank: int, world: int, port: int, path: str, work_dir: str) -> None:
    """As ``torchrun tools/train.py`` does; what is found is written beside the checkpoints."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    cfg = prepared(path, launcher='pytorch', work_dir=work_dir)
    prepare_cpu_processes(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    learned = runner.model.module.head.local_prompts.detach()
    found = dict(metrics=runner.test(), learned=learned.flatten().tolist())
    Path(work_dir, f'{rank}.json').write_text(json.dumps(found))
    leave_group()


def uneven_epochs(rank: int, world: int, folder: str, images: int, resumed: int = 0) -> None:
    """What the hook says of a sampler that does not fill up, or of some who do not resume."""
    join_group(rank, world, folder)
    dataset = list(range(images))
    loader = DataLoader(dataset, sampler=EpochSampler(dataset, seed=1, round_up=False))
    epoch = 2 if rank < resumed else 0
    runner = SimpleNamespace(train_dataloader=loader, epoch=epoch, iter=epoch * len(loader))
    said = 'nothing'
    try:
        HOOKS.build(dict(type='EmptyEpochHook')).before_train(runner)
    except ValueError as error:
        said = str(error)
    Path(folder, f'{rank}.txt').write_text(said)
    leave_group()

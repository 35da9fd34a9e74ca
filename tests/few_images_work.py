"""What a process does in the tests of runs with few images; other processes import it."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.registry import HOOKS
from process_group import group_variables, join_group, leave_group

from sotglp_mm.apis import build_runner, load_config
from sotglp_mm.engine import prepare_processes
from sotglp_mm.engine.distributed import compare_class_names


def train_and_test(rank: int, world: int, port: int, path: str, work_dir: str) -> None:
    """As ``torchrun tools/train.py`` does; what is found is written beside the checkpoints."""
    os.environ.update(group_variables(rank, world, port))
    torch.set_num_threads(1)
    cfg = load_config(path, None, work_dir, launcher='pytorch')
    prepare_processes(cfg)
    runner = build_runner(cfg)
    runner.train()
    learned = runner.model.module.head.local_prompts.detach()
    found = dict(metrics=runner.test(), learned=learned.flatten().tolist())
    Path(work_dir, f'{rank}.json').write_text(json.dumps(found))
    leave_group()


def differing(rank: int, world: int, folder: str, **changed: Any) -> None:
    """What the check says where the last process differs from the others in ``changed``."""
    join_group(rank, world, folder)
    found = dict(
        names=['cat', 'cow', 'dog'], images=[['a.jpg', 0]], clip='ViT', epoch=0, batches=2
    )
    found |= changed if rank == world - 1 else {}
    model = torch.nn.Module()
    model.head = Head(found['names'], found['clip'])
    dataset = SimpleNamespace(few_shot_record=lambda: dict(images=found['images']))
    runner = SimpleNamespace(
        model=model,
        train_dataloader=Loader(dataset, found['batches']),
        epoch=found['epoch'],
        iter=2 * found['epoch'],
    )
    said = 'nothing'
    try:
        if 'before_model' in changed:  # models of two shapes cannot be compared by a hook
            head = dict(class_names=found['names'])
            compare_class_names(Config(dict(model=dict(head=head))))
        HOOKS.build(dict(type='ProcessesCheckHook')).before_train(runner)
    except ValueError as error:
        said = str(error)
    Path(folder, f'{rank}.txt').write_text(said)
    leave_group()


class Head(torch.nn.Module):
    """A head that keeps which CLIP it has, as SOTGLPHead does."""

    def __init__(self, class_names: list[str], clip: str):
        super().__init__()
        self.class_names, self.clip = class_names, clip

    def get_extra_state(self) -> torch.Tensor:
        return torch.tensor([*json.dumps(dict(clip=self.clip)).encode()], dtype=torch.uint8)


class Loader(SimpleNamespace):
    """A loader of some length."""

    def __init__(self, dataset: Any, batches: int):
        super().__init__(dataset=dataset, batches=batches)

    def __len__(self) -> int:
        return self.batches

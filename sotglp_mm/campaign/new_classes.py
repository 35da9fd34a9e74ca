"""Tests on classes that were not trained: base-to-new, and transfer to other datasets."""

import json

from mmengine.config import Config

from ..datasets.few_shot_dataset import HALVES

BASE_AND_NEW = 'base_and_new.json'

SERVES_OTHERS = 'model.head.load_shared=text'
"""Classes without prompts of their own have CLIP's text in the local branch."""

DRAW_BASE = (
    'train_dataloader.dataset.classes=base',
    *('val_cfg=None', 'val_dataloader=None', 'val_evaluator=None'),  # of all classes
)
"""Options that draw base classes alone; stored features are of these already."""

NAME_BASE = 'model.head.class_names=dataset'
"""Option of a training on base classes."""


def base_and_new_config(cfg: Config) -> str:
    """JSON of the config that tests a checkpoint of base classes, each half alone.

    Args:
        cfg: Of the job, with its options; changed in place.
    """
    halves = {half: half for half in HALVES}
    sets = dict.fromkeys(HALVES, cfg.test_dataloader.dataset)
    cfg.test_dataloader.dataset = dict(type='EvaluationSets', sets=sets, classes=halves)
    cfg.test_evaluator = [
        dict(type='BranchAccuracy', branch=branch) for branch in ('combined', 'global', 'local')
    ]
    return json.dumps(cfg.to_dict(), indent=1) + '\n'


def of_set(name: str, metrics: dict[str, float]) -> dict[str, float]:
    """Metrics of one of several sets: ``accuracy/top1`` becomes ``accuracy/<name>/top1``."""
    parts = ((key.partition('/'), value) for key, value in metrics.items())
    return {f'{metric}/{name}/{item}': value for (metric, _, item), value in parts}

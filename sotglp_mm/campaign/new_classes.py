"""Tests on classes that were not trained: base-to-new, and transfer to other datasets."""

from pathlib import Path

BASE_AND_NEW = 'base_and_new.py'

SERVES_OTHERS = 'model.head.load_shared=text'
"""Classes without prompts of their own have CLIP's text in the local branch."""

DRAW_BASE = (
    'train_dataloader.dataset.classes=base',
    *('val_cfg=None', 'val_dataloader=None', 'val_evaluator=None'),  # of all classes
)
"""Options that draw base classes alone; stored features are of these already."""

NAME_BASE = 'model.head.class_names=dataset'
"""Option of a training on base classes."""

_TEST = '''\
"""{stem}, tested on its base classes and on its new classes, each half alone."""

_base_ = {config!r}

test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='EvaluationSets',
        sets=dict(base=_base_.test_dataloader.dataset, new=_base_.test_dataloader.dataset),
        classes=dict(base='base', new='new'),
    )
)
test_evaluator = [
    dict(type='BranchAccuracy', branch=branch) for branch in ('combined', 'global', 'local')
]
'''


def base_and_new_config(config: Path) -> str:
    """Text of the config that tests a checkpoint of base classes."""
    return _TEST.format(stem=config.stem, config=str(config.resolve()))


def of_set(name: str, metrics: dict[str, float]) -> dict[str, float]:
    """Metrics of one of several sets: ``accuracy/top1`` becomes ``accuracy/<name>/top1``."""
    parts = ((key.partition('/'), value) for key, value in metrics.items())
    return {f'{metric}/{name}/{item}': value for (metric, _, item), value in parts}

"""Do a model and its loaders mean the same stored features?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from .format import first_difference, read_manifest

COMPARED = ('backbone', 'data_preprocessor')
"""What the model's cache and a loader's must share; splits may well differ."""


@HOOKS.register_module()
class FeatureCacheCheckHook(Hook):
    """Compares the cache that a loader reads with the one that the backbone stands for.

    The backbone checks the cache that it is given, a dataset its own; a run that names two would
    otherwise put features of one tower under the settings of another. Two caches of the same
    tower and preprocessing pass.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the training set and, before the first step, the validation set."""
        self._check(runner.model, runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            self._check(runner.model, runner.val_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """Check the validation set."""
        self._check(runner.model, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Check the test set."""
        self._check(runner.model, runner.test_dataloader.dataset)

    @staticmethod
    def _check(model: Any, dataset: Any) -> None:
        while hasattr(model, 'module'):  # distributed training wraps it
            model = model.module
        ours = getattr(getattr(model, 'backbone', None), 'feature_cache', None)
        if ours is not None:
            for theirs in set(_caches(dataset)):
                _compare(ours, theirs)


def _compare(ours: Path, theirs: Path) -> None:
    first, second = read_manifest(ours), read_manifest(theirs)
    for key in COMPARED:
        difference = first_difference(first[key], second[key], key)
        if difference is not None:
            where, model, loader = difference
            raise ValueError(
                f'the model stands for the feature cache {ours}, but a dataset reads {theirs}, '
                f'which was made from something else: {where} is {model} in the first and '
                f"{loader} in the second. Give model.backbone.cache and the loaders' "
                'dataset.cache the same folder.'
            )


def _caches(dataset: Any) -> Iterator[Path]:
    """Folders of the caches that a dataset, or one inside it, reads."""
    if hasattr(dataset, 'feature_cache'):
        yield dataset.feature_cache
    sets = getattr(dataset, 'sets', {})  # of EvaluationSets
    inner = [getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ()), *sets.values()]
    for each in inner:
        if each is not None:
            yield from _caches(each)

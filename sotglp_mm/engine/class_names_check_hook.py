"""Do head and dataset mean the same classes?"""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..class_names.resolve import class_difference
from ..utils.settings import checked_settings


@HOOKS.register_module()
@checked_settings
class ClassNamesCheckHook(Hook):
    """Compares the head's class names with the dataset's before the first step.

    A label is a position in a list of names: if the lists differ, every number that a run prints
    is wrong, and nothing else would tell. Underscores count as spaces, as in prompts. Heads
    without ``class_names`` are left alone. Under MMPretrain's ``MultiTaskHead`` the one task head
    that has ``class_names`` is meant; where several have, the dataset's classes tell nothing.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the training set, and now already what validation will look at."""
        self._check(runner, runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            self._check(runner, runner.val_loop.dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """Check the validation set."""
        self._check(runner, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Check the test set."""
        self._check(runner, runner.test_dataloader.dataset)

    @staticmethod
    def _check(runner: Runner, dataset: Any) -> None:
        head = _naming_head(runner.model)
        if head is None:
            return
        head.class_names_checked = True
        found = dataset.metainfo.get('classes')
        if found is None:
            return
        difference = class_difference(head.class_names, found, 'the head', 'the dataset')
        if difference is not None:
            raise ValueError(
                f'{type(head).__name__} and {type(dataset).__name__} differ in their '
                f'classes: {difference}. Set class_names of the head to the classes of the '
                'dataset, in its order.'
            )


def _naming_head(model: Any) -> Any:
    """The head that has ``class_names``; None if none has, or several have."""
    while hasattr(model, 'module'):  # distributed training and test-time augmentation wrap it
        model = model.module
    head = getattr(model, 'head', None)
    heads = [head, *getattr(head, 'task_heads', {}).values()]
    naming = [each for each in heads if hasattr(each, 'class_names')]
    return naming[0] if len(naming) == 1 else None

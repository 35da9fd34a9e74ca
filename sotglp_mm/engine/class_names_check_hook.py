"""Do head and dataset mean the same classes?"""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmpretrain.registry import HOOKS

from ..class_names import class_difference


@HOOKS.register_module()
class ClassNamesCheckHook(Hook):
    """Compares the head's class names with the dataset's before the first step.

    A label is a position in a list of names: if the lists differ, every number that a run prints
    is wrong, and nothing else would tell. Underscores count as spaces, as in prompts. Heads
    without ``class_names`` are left alone.
    """

    def before_train(self, runner) -> None:
        """Check the training set."""
        self._check(runner, runner.train_dataloader.dataset)

    def before_val(self, runner) -> None:
        """Check the validation set."""
        self._check(runner, runner.val_dataloader.dataset)

    def before_test(self, runner) -> None:
        """Check the test set."""
        self._check(runner, runner.test_dataloader.dataset)

    @staticmethod
    def _check(runner, dataset) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        expected = getattr(getattr(model, 'head', None), 'class_names', None)
        found = dataset.metainfo.get('classes')
        if expected is None or found is None:
            return
        difference = class_difference(expected, found, 'the head', 'the dataset')
        if difference is not None:
            raise ValueError(
                f'{type(model.head).__name__} and {type(dataset).__name__} differ in their '
                f'classes: {difference}. Set class_names of the head to the classes of the '
                'dataset, in its order.'
            )

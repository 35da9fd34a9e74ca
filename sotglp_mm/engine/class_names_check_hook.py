"""Do head and dataset mean the same classes?"""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmpretrain.registry import HOOKS


@HOOKS.register_module()
class ClassNamesCheckHook(Hook):
    """Compares the head's class names with the dataset's before the first step.

    A label is a position in a list of names: if the lists differ, every number that a run prints
    is wrong, and nothing else would tell. Heads without ``class_names`` are left alone.
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
        if expected is None or found is None or tuple(expected) == tuple(found):
            return
        raise ValueError(
            f'{type(model.head).__name__} and {type(dataset).__name__} differ in their classes: '
            f'{_first_difference(tuple(expected), tuple(found))}. Set class_names of the head to '
            'the classes of the dataset, in its order.'
        )


def _first_difference(expected: tuple[str, ...], found: tuple[str, ...]) -> str:
    for label, (ours, theirs) in enumerate(zip(expected, found)):
        if ours != theirs:
            return f'label {label} is {ours!r} for the head and {theirs!r} in the dataset'
    longer, owner = (expected, 'head') if len(expected) > len(found) else (found, 'dataset')
    label = min(len(expected), len(found))
    return (
        f'the head has {len(expected)} classes and the dataset {len(found)}; '
        f'label {label}, {longer[label]!r}, is known to the {owner} alone'
    )

"""Is there anything in an epoch?"""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS


@HOOKS.register_module()
class EmptyEpochHook(Hook):
    """Stops a run whose epochs hold not a single batch.

    Few shots, a large batch and ``drop_last`` leave none, and MMEngine then counts empty epochs
    to the end: the checkpoint is the prompts as they were initialised, and nothing says so.
    """

    def before_train(self, runner: Runner) -> None:
        """Look at the training loader, or raise ``ValueError``."""
        loader = runner.train_dataloader
        if len(loader):
            return
        images = len(loader.dataset)
        if not images:
            raise ValueError(
                'Not a single batch: the training set has 0 images. '
                'Look at train_dataloader.dataset: its folder, its split, its shots.'
            )
        raise ValueError(
            f'Not a single batch: the training set has {images} images, one process takes '
            f'batches of {loader.batch_size}, and drop_last={loader.drop_last} leaves an '
            'incomplete one out. Set train_dataloader.batch_size to at most the number of images '
            'of a process, or train_dataloader.drop_last=False.'
        )

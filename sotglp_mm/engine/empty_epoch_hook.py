"""Is there anything in an epoch, and as much in every process?"""

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..settings import checked_settings


@HOOKS.register_module()
@checked_settings
class EmptyEpochHook(Hook):
    """Stops a run whose epochs hold not a single batch, or more in one process than in another.

    Few shots, a large batch and ``drop_last`` leave none, and MMEngine then counts empty epochs
    to the end: the checkpoint is the prompts as they were initialised, and nothing says so.
    Processes exchange gradients in each batch: who has one more waits for the others.
    """

    def before_train(self, runner: Runner) -> None:
        """Look at the training loaders of all processes, or raise ``ValueError``."""
        loader = runner.train_dataloader
        of_processes = all_gather_object(len(loader))
        if len(set(of_processes)) > 1:
            raise ValueError(
                f'The processes have different numbers of batches in an epoch, {of_processes}, '
                'so that some would wait for others forever. Set '
                "train_dataloader.sampler.round_up=True (EpochSampler's default)."
            )
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

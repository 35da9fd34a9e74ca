"""Is there anything in an epoch, as much in every process, and do all begin at the same one?"""

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..utils.settings import checked_settings


@HOOKS.register_module()
@checked_settings
class EmptyEpochHook(Hook):
    """Stops a run whose epochs are empty, or whose processes would not go on in step.

    Few shots, a large batch and ``drop_last`` leave none, and MMEngine then counts empty epochs
    to the end: the checkpoint is the prompts as they were initialised, and nothing says so.
    Processes exchange gradients in each batch: who has one more waits for the others. So does
    who resumes where another, on a machine that does not share the work dir, begins anew.
    """

    def before_train(self, runner: Runner) -> None:
        """Look at the training loaders of all processes, or raise ``ValueError``."""
        loader = runner.train_dataloader
        gathered = all_gather_object((len(loader), (runner.epoch, runner.iter)))
        of_processes, places = map(list, zip(*gathered, strict=True))
        if len(set(places)) > 1:
            raise ValueError(
                f'The processes would go on from different (epoch, iteration), {places}: they '
                'found different checkpoints. Put the work dir on a disk that all machines share, '
                'or give all the same file by --resume.'
            )
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

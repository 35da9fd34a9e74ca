"""Resuming makes up for the validation that comes after the checkpoint."""

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS

from ..utils.settings import checked_settings


@HOOKS.register_module()
@checked_settings
class ResumedValidationHook(Hook):
    """On resuming from the end of an epoch that is to be validated, validate it first.

    MMEngine writes an epoch's checkpoint before it validates the epoch. A run killed between the
    two would end without that validation, the last one's included, and ``save_best`` would keep
    another epoch for the best. Nothing in a checkpoint tells whether its validation was made:
    where it was, it is made again, and its line is in the log twice with equal numbers.
    """

    priority = 'LOWEST'
    """``save_best`` needs what ``CheckpointHook.before_train`` settles."""

    def before_train(self, runner: Runner) -> None:
        """Validate, if this epoch's turn it is and nothing was trained since."""
        loop = runner.train_loop
        if runner.val_loop is None or not isinstance(loop, EpochBasedTrainLoop):
            return
        if not loop.epoch or loop.iter != loop.epoch * len(loop.dataloader):
            return  # a new run, or a checkpoint from the middle of an epoch
        loop._decide_current_val_interval()
        in_turn = loop.epoch % loop.val_interval == 0 or loop.epoch == loop.max_epochs
        if loop.epoch >= loop.val_begin and in_turn:
            runner.logger.info(f'Validating epoch {loop.epoch}, from whose end this run goes on')
            runner.val_loop.run()

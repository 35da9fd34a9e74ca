"""How far a training is, in one line."""

import sys

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from tqdm import tqdm


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """A bar of the steps, with the time left and the loss, on standard error."""

    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        self.bar = tqdm(
            total=runner.max_iters,
            initial=runner.iter,
            desc='training',
            unit='step',
            file=sys.stderr,
        )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        # not at every step: a number of the loss makes a GPU wait
        if outputs and 'loss' in outputs and self.every_n_train_iters(runner, 10):
            self.bar.set_postfix(loss=f'{outputs["loss"].item():.3f}', refresh=False)
        self.bar.update()

    def after_train(self, runner: Runner) -> None:
        self.bar.close()

"""A hook that stops one process of several; for a config's ``custom_imports``."""

import time

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS


@HOOKS.register_module()
class DyingProcessHook(Hook):
    """In the second process, before the fifth step.

    Args:
        way (str): 'hang', or 'live'.
    """

    def __init__(self, way: str):
        self.way = way

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Stop."""
        if runner.iter == 4 and get_rank() == 1 and self.way == 'hang':
            time.sleep(300)

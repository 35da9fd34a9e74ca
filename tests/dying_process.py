"""A hook that ends, or stops, one process of several; for a config's ``custom_imports``."""

import os
import signal
import time
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS


@HOOKS.register_module()
class DyingProcessHook(Hook):
    """In the second process, before the fifth step.

    Args:
        way (str): 'raise', 'kill', 'hang', or 'live'.
    """

    def __init__(self, way: str):
        self.way = way

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """End or stop."""
        if runner.iter != 4 or get_rank() != 1 or self.way == 'live':
            return
        Path(runner.work_dir, 'ended').write_text(str(time.time()))
        if self.way == 'raise':
            raise OSError('planted: the disk of this machine is gone')
        if self.way == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(300)

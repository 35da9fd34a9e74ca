"""Checkpoints that ``torch.load(..., weights_only=True)`` reads without any allow-list."""

from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..io.checkpoint_file import refusing_checkpoint
from ..io.resumable_parts import HISTORY
from ..utils.settings import checked_settings


@HOOKS.register_module()
@checked_settings
class PlainCheckpointHook(Hook):
    """Writes MMEngine's log history and numpy scalars as tensors and plain numbers.

    On resuming, the log history becomes again what MMEngine needs. MMCV's ``meta.config``, a
    Python text, is left out; MMEngine's own checkpoints have ``meta.cfg``, which nothing runs.
    """

    priority = 'VERY_LOW'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Make everything but the weights plain."""
        for key in checkpoint:
            if key != 'state_dict':
                checkpoint[key] = _to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the log history, and leave out what MMEngine would run."""
        checkpoint.get('meta', {}).pop('config', None)  # Runner.resume runs it as a Python config
        hub = checkpoint.get('message_hub')
        if hub and 'log_scalars' in hub:
            with refusing_checkpoint('The log'):
                scalars = {name: _to_buffer(plain) for name, plain in hub['log_scalars'].items()}
            checkpoint['message_hub'] = {**hub, 'log_scalars': scalars}


def _to_plain(value: Any) -> Any:
    """The same, rebuilt, without numpy and MMEngine classes; the original is left alone."""
    if isinstance(value, HistoryBuffer):
        values, counts = (torch.tensor(series) for series in value.data)
        return {HISTORY: dict(values=values, counts=counts, max_length=value.max_length)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return type(value)((key, _to_plain(item)) for key, item in value.items())
    if type(value) in (list, tuple):
        return type(value)(_to_plain(item) for item in value)
    return value


def _to_buffer(plain: dict | HistoryBuffer) -> HistoryBuffer:
    if isinstance(plain, HistoryBuffer):
        return plain
    saved = plain[HISTORY]
    values, counts = saved['values'].cpu().numpy(), saved['counts'].cpu().numpy()
    return HistoryBuffer(values, counts, saved['max_length'])

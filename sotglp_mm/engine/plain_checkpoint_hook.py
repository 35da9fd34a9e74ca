"""Checkpoints that ``torch.load(..., weights_only=True)`` reads without any allow-list."""

import codecs
import pickle
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..checkpoint_file import refusing_checkpoint
from ..resumable_parts import HISTORY
from ..settings import checked_settings


def _statistic(owner: type, name: str) -> Any:
    """``getattr`` as a log history needs it: its pickle asks for ``HistoryBuffer.mean`` etc."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise pickle.UnpicklingError(f'getattr of {owner!r} and {name!r} is not allowed')
    return getattr(owner, name)


# torch looks allowed globals up by these names; the real getattr reaches far too much
_statistic.__module__, _statistic.__name__, _statistic.__qualname__ = (
    'builtins',
    'getattr',
    'getattr',
)

# What MMEngine puts into a checkpoint where this hook is not in use (another toolbox's run, an
# older file). Allowing these few keeps torch's safe loading on for everything else.
_rebuild: list[Any] = [np.ones(1).__reduce__()[0], np.float64(1).__reduce__()[0]]
"""numpy's own functions, wherever they live."""

_allowed = [
    HistoryBuffer,
    _statistic,
    np.ndarray,
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.int64)),
    *_rebuild,
    codecs.encode,  # their bytes, as pickle writes them; torch allows it from 2.5 on
]


def allow_log_history() -> None:
    """Let torch's safe loading read MMEngine's log history; importing the package calls it."""
    torch.serialization.add_safe_globals(_allowed)


allow_log_history()


@HOOKS.register_module()
@checked_settings
class PlainCheckpointHook(Hook):
    """Writes MMEngine's log history and numpy scalars as tensors and plain numbers.

    On resuming, the log history becomes again what MMEngine needs.
    """

    priority = 'VERY_LOW'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Make everything but the weights plain."""
        for key in checkpoint:
            if key != 'state_dict':
                checkpoint[key] = _to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the log history."""
        allow_log_history()  # the loader of onedl-mmengine has just taken the allowance away
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

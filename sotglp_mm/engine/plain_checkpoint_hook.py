"""Checkpoints that ``torch.load(..., weights_only=True)`` reads without any allow-list."""

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmpretrain.registry import HOOKS

# What MMEngine puts into a checkpoint where this hook is not in use (another toolbox's run, an
# older file). Allowing these few keeps torch's safe loading on for everything else.
torch.serialization.add_safe_globals(
    [
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.int64)),
        np.ones(1).__reduce__()[0],  # numpy's own rebuilding function, wherever it lives
    ]
)


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Writes MMEngine's log history as tensors, and makes it a log history again on resuming."""

    priority = 'VERY_LOW'

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """``HistoryBuffer`` to a dict of tensors."""
        hub = checkpoint['message_hub']
        scalars = {name: _to_plain(buffer) for name, buffer in hub['log_scalars'].items()}
        checkpoint['message_hub'] = {**hub, 'log_scalars': scalars}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """And back."""
        hub = checkpoint.get('message_hub')
        if hub and 'log_scalars' in hub:
            scalars = {name: _from_plain(plain) for name, plain in hub['log_scalars'].items()}
            checkpoint['message_hub'] = {**hub, 'log_scalars': scalars}


def _to_plain(buffer: HistoryBuffer) -> dict:
    values, counts = buffer.data
    return dict(
        values=torch.from_numpy(values.copy()),
        counts=torch.from_numpy(counts.copy()),
        max_length=buffer.max_length,
    )


def _from_plain(plain: dict | HistoryBuffer) -> HistoryBuffer:
    if isinstance(plain, HistoryBuffer):
        return plain
    values, counts = plain['values'].cpu().numpy(), plain['counts'].cpu().numpy()
    return HistoryBuffer(values, counts, plain['max_length'])

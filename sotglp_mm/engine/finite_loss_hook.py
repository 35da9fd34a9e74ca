"""A loss that is no number stops the run."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..utils.settings import checked_settings

SHOWN = 10
ADVICE = (
    'Earlier checkpoints are as they were. Lower optim_wrapper.optimizer.lr; if --amp was given, '
    'try without it, or with optim_wrapper.dtype=bfloat16; and look at these images'
)


@HOOKS.register_module()
@checked_settings
class FiniteLossHook(Hook):
    """Stops a run at the first loss that is NaN or infinite, before it is saved anywhere.

    MMEngine trains on, and the last checkpoint is NaN. The check costs one synchronisation with
    the device in an iteration. Weights are checked when a checkpoint is written: a gradient can be
    NaN although the loss is not.
    """

    priority = 'HIGH'  # before anything is logged or saved

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Look at all losses of the iteration.

        Raises:
            ValueError: One is not finite; the message has the iteration, values and images.
        """
        losses = {
            name: value.detach().float().reshape(())
            for name, value in (outputs or {}).items()
            if 'loss' in name and isinstance(value, torch.Tensor)
        }
        if not losses or torch.stack(list(losses.values())).isfinite().all():
            return
        bad = {name: float(value) for name, value in losses.items() if not value.isfinite()}
        fine = {name: float(value) for name, value in losses.items() if name not in bad}
        where = f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}, batch {batch_idx + 1})'
        raise ValueError(
            f'The loss is not finite in {where}: {_values(bad)}'
            f'{f"; finite: {_values(fine)}" if fine else ""}. '
            f'The batch: {_images(data_batch)}. {ADVICE}'
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Look at the weights.

        Raises:
            ValueError: One is not finite; nothing is written.
        """
        bad = [
            name
            for name, value in checkpoint['state_dict'].items()
            if isinstance(value, torch.Tensor) and not value.isfinite().all()
        ]
        if bad:
            raise ValueError(
                f'No checkpoint is written at iteration {runner.iter + 1}: {", ".join(bad)} '
                f'hold(s) NaN or infinite values, although the loss was finite. {ADVICE} of the '
                'last batch'
            )


def _values(losses: dict[str, float]) -> str:
    return ', '.join(f'{name}={value:.6g}' for name, value in losses.items())


def _images(data_batch: Any) -> str:
    """Path, or else index, of at most ``SHOWN`` images of a batch, and how many there are."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    if not samples:
        return 'unknown images'
    named = [
        str(sample.get('img_path') or f'sample_idx {sample.get("sample_idx", "unknown")}')
        for sample in samples[:SHOWN]
    ]
    more = f' and {len(samples) - SHOWN} more' if len(samples) > SHOWN else ''
    return f'{len(samples)} images: {", ".join(named)}{more}'

"""Mixed precision that a config may ask for on any machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmpretrain.registry import OPTIM_WRAPPERS
from torch import Tensor, nn

from ..utils.settings import check_choice, checked_settings

DTYPES = ('float16', 'bfloat16')


@OPTIM_WRAPPERS.register_module()
@checked_settings
class AutocastOptimWrapper(OptimWrapper):
    """Autocast, with a scaled loss where float16 needs it.

    MMEngine's ``AmpOptimWrapper`` refuses to be built without a GPU. Here float16 means float16 on
    an accelerator and float32 on a CPU (the log says so); bfloat16 runs on both.

    Args:
        dtype (str): 'float16' or 'bfloat16'. Defaults to 'float16'.
        **kwargs: As in MMEngine's ``OptimWrapper``.
    """

    def __init__(self, dtype: str = 'float16', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice('AutocastOptimWrapper', 'dtype', dtype, DTYPES)
        self.device = get_device()
        self.dtype = getattr(torch, dtype)
        self.enabled = not (self.device == 'cpu' and dtype == 'float16')
        if not self.enabled:
            print_log('No GPU: training in float32 instead of float16', logger='current')
        scales = self.enabled and dtype == 'float16'
        self.loss_scaler = torch.amp.GradScaler(self.device, enabled=scales)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()

    def state_dict(self) -> dict:
        return {**super().state_dict(), 'loss_scaler': self.loss_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Also takes the state of a run without mixed precision."""
        state_dict = dict(state_dict)
        scaler = state_dict.pop('loss_scaler', None)
        if scaler and self.loss_scaler.is_enabled():
            self.loss_scaler.load_state_dict(scaler)
        super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with (
            super().optim_context(model),
            torch.autocast(self.device, dtype=self.dtype, enabled=self.enabled),
        ):
            yield

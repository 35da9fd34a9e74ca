"""Mixed precision that a config may ask for on any machine."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmpretrain.registry import OPTIM_WRAPPERS
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.benchmark import Timer

from ..utils.settings import check_choice, checked_settings

DTYPES = ('float16', 'bfloat16', 'float32')
WORTHWHILE = 0.9
"""Another precision replaces float32 if it takes at most this share of its time."""


@OPTIM_WRAPPERS.register_module()
@checked_settings
class AutocastOptimWrapper(OptimWrapper):
    """Autocast, with a scaled loss where float16 needs it.

    MMEngine's ``AmpOptimWrapper`` refuses to be built without a GPU. Here float16 means float16 on
    an accelerator and float32 on a CPU (the log says so); bfloat16 runs on both.

    Args:
        dtype (str): 'float16', 'bfloat16', 'float32', or 'auto': the fastest on this machine, by
            a measurement of a second. A run that resumes keeps the precision that it began with.
            Defaults to 'float16'.
        **kwargs: As in MMEngine's ``OptimWrapper``.
    """

    def __init__(self, dtype: str = 'float16', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice('AutocastOptimWrapper', 'dtype', dtype, (*DTYPES, 'auto'))
        self.device = get_device()
        self.chooses = dtype == 'auto'
        self._train_in(fastest_dtype(self.device) if self.chooses else dtype)

    def _train_in(self, dtype: str) -> None:
        if dtype == 'float16' and self.device == 'cpu':
            print_log('No GPU: training in float32 instead of float16', logger='current')
            dtype = 'float32'
        self.dtype = dtype
        self.loss_scaler = torch.amp.GradScaler(self.device, enabled=dtype == 'float16')

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
        scaler = self.loss_scaler.state_dict()
        return {**super().state_dict(), 'loss_scaler': scaler, 'dtype': self.dtype}

    def load_state_dict(self, state_dict: dict) -> None:
        """Also takes the state of a run without mixed precision."""
        state_dict = dict(state_dict)
        scaler, dtype = state_dict.pop('loss_scaler', None), state_dict.pop('dtype', None)
        if dtype and self.chooses and dtype != self.dtype:
            print_log(f"dtype='auto': the run began in {dtype} and goes on so", logger='current')
            self._train_in(dtype)
        if scaler and self.loss_scaler.is_enabled():
            self.loss_scaler.load_state_dict(scaler)
        super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), autocast(self.device, self.dtype):
            yield


def autocast(device: str, dtype: str) -> AbstractContextManager:
    """Of torch; for 'float32' nothing is cast."""
    return nullcontext() if dtype == 'float32' else torch.autocast(device, getattr(torch, dtype))


def fastest_dtype(device: str) -> str:
    """The precision to train in on this machine, the same in all processes.

    Measured are the MLP of a text tower's block and its backward pass. Weights are frozen, so
    autocast casts them each time, as in training.
    """
    others = ('bfloat16',) if device == 'cpu' else ('bfloat16', 'float16')
    seconds = {dtype: mlp_seconds(device, dtype) for dtype in ('float32', *others)}
    fastest = min(others, key=seconds.__getitem__)
    worth = seconds[fastest] <= WORTHWHILE * seconds['float32']
    chosen = [fastest if worth else 'float32']
    broadcast_object_list(chosen)
    times = ', '.join(f'{dtype} {1000 * seconds[dtype]:.3g} ms' for dtype in seconds)
    print_log(f"dtype='auto': training in {chosen[0]} (an MLP takes: {times})", logger='current')
    return chosen[0]


def mlp_seconds(device: str, dtype: str, tokens: int = 1024, width: int = 512) -> float:
    """Median time of an MLP of ``width``, forward and backward. Takes no random numbers."""
    inputs = torch.linspace(-1, 1, tokens * width, device=device).view(tokens, width)
    inputs.requires_grad_()
    up = torch.full((4 * width, width), 0.01, device=device)
    down = torch.full((width, 4 * width), 0.01, device=device)

    def run() -> None:
        with autocast(device, dtype):
            outputs = linear(torch.sigmoid(linear(inputs, up)), down)
        torch.autograd.grad(outputs.sum(), inputs)

    timer = Timer('run()', globals={'run': run}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=0.3).median

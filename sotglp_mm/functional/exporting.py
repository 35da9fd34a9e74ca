"""Whether a program is being made of the model; see :func:`sotglp_mm.apis.export`."""

from collections.abc import Callable

import torch

# torch 2.6 cannot tell an export from torch.compile
is_exporting: Callable[[], bool] = getattr(
    torch.compiler, 'is_exporting', torch.compiler.is_compiling
)
"""While ``torch.export`` traces, the batch is a symbol: nothing may be counted by it."""

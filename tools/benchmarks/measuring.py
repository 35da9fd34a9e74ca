"""Seconds, operations, bytes and the machine: what the benchmark measures with."""

import gc
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode
from tqdm import trange

Run = Callable[[], object]
Rounds = list[dict[Any, float]]

GB = 1e9
"""Bytes of the unit of all memory figures."""

MIN_RUN_TIME = 0.02
"""Seconds for which a timer repeats a run; a longer one runs twice, once to warm up."""

GEMM_SHAPE = (4096, 512, 2048)
"""Rows, inner and outer width of the matrix product that the machine is rated by: about what the
MLP of a text tower of width 512 does."""


class Backward:
    """The backward pass of a loss, on a graph of the parameters as they are.

    A step between forward and backward pass would change what the graph has kept.
    """

    def __init__(self, loss: Callable[[], torch.Tensor]) -> None:
        self.loss = loss

    def prepare(self) -> None:
        """Make the graph."""
        self.graph = self.loss()

    def __call__(self) -> None:
        """Go back through it."""
        self.graph.backward(retain_graph=True)


def rounds_of(runs: Mapping[Any, Run], repeats: int) -> Rounds:
    """Seconds of each run in rounds in which all of them take turns.

    A busy machine slows all runs of a round down, so a ratio within a round is more reliable than
    one of two medians. A :class:`Backward` gets its graph first, which does not count.
    """
    timers = {
        name: Timer(
            'run()',
            setup='prepare()',
            globals=dict(run=run, prepare=getattr(run, 'prepare', lambda: None)),
            num_threads=torch.get_num_threads(),
        )
        for name, run in runs.items()
    }
    return [
        {name: t.blocked_autorange(min_run_time=MIN_RUN_TIME).median for name, t in timers.items()}
        for _ in trange(repeats, desc='rounds', disable=None, leave=False)
    ]


def medians(rounds: Rounds) -> dict[Any, float]:
    """Of each key over the rounds."""
    return {key: median(each[key] for each in rounds) for key in rounds[0]}


def median_ratio(rounds: Rounds, key: Any, other: Any) -> float:
    """Median over rounds of ``key / other``."""
    return median(each[key] / each[other] for each in rounds)


def matrix_product(dtype: torch.dtype, device: str = 'cpu') -> Run:
    """The product that the machine is rated by, with operands of this type."""
    rows, inner, outer = GEMM_SHAPE
    x, weight = (torch.randn(n, inner, dtype=dtype, device=device) for n in (rows, outer))
    return torch.no_grad()(lambda: F.linear(x, weight))


def gflop(run: Run) -> float:
    """Operations of the matrix products in a run, in units of 10^9; a multiply-add counts twice.

    Whatever else there is, is not counted: the rate that follows is a lower bound. Attention is
    counted in full, also where a causal mask saves half.
    """
    # PyTorch does not count what is fused: nn.MultiheadAttention, and all attention on CPUs
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() / 1e9


def resident_gb() -> float:
    """Resident memory of this process now; without ``/proc``, its peak so far."""
    return _status('VmRSS')


def peak_gb() -> float:
    """Largest resident memory of this process so far."""
    return _status('VmHWM')


def memory_above(run: Run) -> float:
    """GB by which the resident memory rises above what it is now during a run.

    Where the kernel cannot forget an earlier peak (it is not Linux), this is a lower bound.
    """
    gc.collect()
    try:
        Path('/proc/self/clear_refs').write_text('5')
        before = resident_gb()
    except OSError:
        before = peak_gb()
    run()
    return max(peak_gb() - before, 0.0)


def _status(key: str) -> float:
    """A line of Linux's account of this process, in GB."""
    status = Path('/proc/self/status')
    if status.is_file():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / GB for line in lines if line.startswith(key))
    import resource  # Windows has none

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == 'darwin' else 1024) / GB


def machine() -> dict[str, object]:
    """What the figures were measured on, and with."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return dict(
        cpu=names[0] if names else platform.processor() or platform.machine(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )

"""Seconds, bytes and the machine: what the benchmark measures with."""

import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F

GB = 1e9
"""Bytes of the unit of all memory figures."""

GEMM_SHAPE = (4096, 512, 2048)
"""Rows, inner and outer width of the matrix product that the machine is rated by: about what the
MLP of a text tower of width 512 does."""


class Clock:
    """Adds up the seconds of named phases until they are taken."""

    def __init__(self):
        self._seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the body of a ``with``."""
        start = time.perf_counter()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start

    def watch(self, owner: object, method: str, name: str) -> None:
        """Time every call of a method of this one object from now on."""
        called = getattr(owner, method)

        def timed(*args, **kwargs):
            with self.phase(name):
                return called(*args, **kwargs)

        setattr(owner, method, timed)

    def take(self, *expected: str) -> dict[str, float]:
        """The seconds of each phase since the last take.

        Raises:
            RuntimeError: A phase that was expected did not occur: the program is not built as the
                benchmark believes, and its figures would be wrong.
        """
        taken, self._seconds = self._seconds, {}
        missing = [name for name in expected if name not in taken]
        if missing:
            raise RuntimeError(f'benchmark: nothing was timed as {", ".join(missing)}')
        return taken


class MatrixRate:
    """The best rate at which this machine was seen to multiply matrices.

    Args:
        dtype: Of the matrices.
    """

    def __init__(self, dtype: torch.dtype):
        rows, inner, outer = GEMM_SHAPE
        self._x = torch.randn(rows, inner, dtype=dtype)
        self._weight = torch.randn(outer, inner, dtype=dtype)
        self._rates: list[float] = []

    @property
    def per_second(self) -> float:
        """The best: a busy machine must not make it, and with it a share, look better."""
        return max(self._rates)

    @property
    def figures(self) -> dict[str, float]:
        """The rate, and its median, which is near it if the machine had nothing else to do."""
        median = statistics.median(self._rates)
        return dict(
            matrix_gflop_per_s=self.per_second / 1e9, matrix_median_gflop_per_s=median / 1e9
        )

    @torch.no_grad()
    def measure(self, runs: int = 5) -> None:
        """Multiply a few times more."""
        for _ in range(runs):
            start = time.perf_counter()
            F.linear(self._x, self._weight)
            seconds = time.perf_counter() - start
            rows, inner, outer = GEMM_SHAPE
            self._rates.append(2 * rows * inner * outer / seconds)


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Of each key over the rounds."""
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


def median_ratio(rounds: list[dict[str, float]], key: str, other: str) -> float:
    """Median over rounds of ``key / other``: what slows one round down slows both."""
    return statistics.median(each[key] / each[other] for each in rounds)


def resident_bytes() -> int:
    """Resident memory of this process now; without ``/proc``, its peak so far."""
    return _status('VmRSS') or peak_bytes()


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    peak = _status('VmHWM')
    if peak is None:
        try:
            import resource
        except ImportError:
            sys.exit('benchmark: this system does not tell the peak memory of a process')
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == 'darwin' else 1024
    return peak


def memory_above(run: Callable[[], object]) -> int:
    """Bytes by which the resident memory rises above what it is now while ``run`` runs.

    Where the kernel cannot forget an earlier peak (it is not Linux), this is a lower bound.
    """
    gc.collect()
    try:
        Path('/proc/self/clear_refs').write_text('5')
    except OSError:
        before = peak_bytes()
    else:
        before = resident_bytes()
    run()
    return max(peak_bytes() - before, 0)


def _status(key: str) -> int | None:
    """A line of Linux's account of this process, in bytes."""
    status = Path('/proc/self/status')
    if not status.is_file():
        return None
    for line in status.read_text().splitlines():
        if line.startswith(f'{key}:'):
            return int(line.split()[1]) * 1024
    return None


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return dict(
        cpu=_cpu_name(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        system=f'{platform.system()} {platform.machine()}',
    )


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    if sys.platform == 'darwin':
        asked = ['sysctl', '-n', 'machdep.cpu.brand_string']
        return subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of what does the work."""
    import mmengine
    import mmpretrain
    import open_clip

    import sotglp_mm

    parts = (sotglp_mm, torch, open_clip, mmengine, mmpretrain)
    found = {part.__name__: str(part.__version__) for part in parts}
    return dict(python=platform.python_version(), **found)

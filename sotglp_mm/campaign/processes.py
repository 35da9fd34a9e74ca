"""Training and test of a job in processes of their own, which do not outlive the campaign."""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ..utils.packaged_files import TOOLS
from .plan import Job
from .records import LOG

PATIENCE_S = 15
PR_SET_PDEATHSIG = 1  # of Linux, sys/prctl.h
SHOWN_LINES = 15


class JobFailed(RuntimeError):
    """A job has no result; says why."""


class Processes:
    """Runs ``tools/train.py`` and ``tools/test.py``, their output in the job's log.

    Its methods raise :class:`JobFailed`, with the end of the log.
    """

    def __init__(self, launcher: str = 'none', nproc: int = 1):
        self.launch, self.flags = [sys.executable], []
        if launcher == 'pytorch':
            # standalone: a free port, so that several campaigns fit on a machine
            self.launch += ['-m', 'torch.distributed.run', '--standalone']
            self.launch += [f'--nproc_per_node={nproc}']
            self.flags = ['--launcher', 'pytorch']

    def train(self, job: Job) -> None:
        """Train, or go on training."""
        self._run(job, 'train.py', str(job.config), '--work-dir', str(job.folder), '--resume')

    def test(self, job: Job, checkpoint: Path, out: Path) -> None:
        """Write a checkpoint's metrics."""
        words = [str(job.config), str(checkpoint), '--work-dir', str(out.parent)]
        self._run(job, 'test.py', *words, '--out', str(out), '--out-item', 'metrics')

    def _run(self, job: Job, tool: str, *words: str) -> None:
        command = [*self.launch, str(TOOLS / tool), *words, *self.flags]
        command += ['--cfg-options', *job.options]
        log = job.folder / LOG
        with log.open('a', encoding='utf-8') as stream:
            stream.write(f'$ {shlex.join(command)}\n')
        status = run_command(command, log)
        if status:
            ended = f'was killed by signal {-status}' if status < 0 else f'exit status {status}'
            lines = log.read_text(encoding='utf-8', errors='replace').splitlines()[-SHOWN_LINES:]
            end = '\n'.join(f'    {line}' for line in lines)
            raise JobFailed(f'{tool}: {ended}; the end of {log}:\n{end}')


def run_command(command: list[str], log: Path) -> int:
    """Exit status of a command; the command does not outlive this process."""
    with log.open('ab') as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent(),
        )
    try:
        return process.wait()
    except BaseException:  # Ctrl-C, above all
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


def _die_with_parent() -> Callable[[], None] | None:
    """For a new process: ask to be ended when this one is killed, which runs no code of ours.

    A training left over would write into the folder in which the next campaign goes on.
    """
    if sys.platform != 'linux':
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # killed before it was asked
            os._exit(1)

    return ask

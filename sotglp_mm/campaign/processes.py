"""Training and test of a job: in processes of their own, or in this one.

The former do not outlive the campaign. The latter import, load CLIP and check it once.
"""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

from ..apis.config import LOADERS, load_config, parse_options
from ..apis.test import test
from ..apis.train import train
from ..features.baselines import measure_baseline
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
            run = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={nproc}']
            self.launch, self.flags = [sys.executable, *run], ['--launcher', 'pytorch']

    def train(self, job: Job) -> None:
        words = [str(job.config), '--work-dir', str(job.folder), '--resume']
        self._run(job, 'train.py', *words, *([] if job.validates else ['--no-validate']))

    def test(self, job: Job, checkpoint: Path, out: Path) -> None:
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


class InProcess:
    """Runs jobs as :class:`Processes` does, with the same results and errors.

    What a job changes in the process is undone after it.
    """

    def train(self, job: Job) -> None:
        with _running(job, 'train') as options:
            settings: dict[str, Any] = dict(resume='auto', no_validate=not job.validates)
            train(job.config, work_dir=job.folder, cfg_options=options, **settings)

    def test(self, job: Job, checkpoint: Path, out: Path) -> None:
        with _running(job, 'test') as options:
            settings: dict[str, Any] = dict(work_dir=out.parent, out=out, cfg_options=options)
            test(job.config, checkpoint, out_item='metrics', **settings)

    def measure(self, job: Job) -> dict[str, float]:
        with _running(job, job.method) as options:
            return measure_baseline(load_config(job.config, options, job.folder), job.method)


@contextmanager
def _running(job: Job, what: str) -> Iterator[dict]:
    """Options of a run; its output goes to the job's log."""
    # MMEngine keeps loggers by the name of a run, by default its second
    name = f'{"_".join(map(str, job.key))}_{what}_{time.time_ns()}'
    words = [f'experiment_name={name}']
    if job.stored:  # reading features is quick, starting processes is not
        parts = {key.partition('.')[0] for key in job.settings if '.' in key}
        words += [f'{loader}.num_workers=0' for loader in LOADERS if loader in parts]
    before = dict(os.environ), torch.are_deterministic_algorithms_enabled()
    with (job.folder / LOG).open('a', encoding='utf-8') as log:
        try:
            with redirect_stdout(log), redirect_stderr(log):
                print(f'{what} in the process of the campaign, {" ".join(job.options)}')
                yield parse_options([*words, *job.options])
        except Exception as error:  # whatever it is, the next job shall run
            traceback.print_exc(file=log)
            raise JobFailed(
                f'{what}: {type(error).__name__}: {error}; {job.folder / LOG} has more'
            ) from error
        finally:
            _forget(name)
            os.environ.clear()
            os.environ.update(before[0])
            torch.use_deterministic_algorithms(before[1])


def _forget(name: str) -> None:
    """Close the log of a run, and drop what MMEngine keeps of it for the life of a process."""
    for manager in (MMLogger, MessageHub, Visualizer):
        # MMEngine adds the time to the name
        for key in [key for key in manager._instance_dict if key.startswith(name)]:
            instance = manager._instance_dict.pop(key)
            for handler in instance.handlers if isinstance(instance, MMLogger) else ():
                handler.close()

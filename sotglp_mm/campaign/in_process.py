"""Training and test of jobs in this process: imports, CLIP and its checks are needed once."""

import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

from ..apis.config import LOADERS, load_config
from ..apis.test import test
from ..apis.train import train
from ..features.baselines import measure_baseline
from .plan import Job, parse_options
from .processes import JobFailed
from .records import LOG


class InProcess:
    """Runs jobs as :class:`Processes` does, with the same results and errors.

    Within :func:`sharing_towers`, jobs share CLIP's frozen towers. What a job changes in the
    process is undone after it.
    """

    def train(self, job: Job) -> None:
        """Train, or go on training."""
        with _running(job, 'train') as options:
            train(job.config, work_dir=job.folder, resume='auto', cfg_options=options)

    def test(self, job: Job, checkpoint: Path, out: Path) -> None:
        """Write a checkpoint's metrics."""
        with _running(job, 'test') as options:
            settings: dict[str, Any] = dict(work_dir=out.parent, out=out, cfg_options=options)
            test(job.config, checkpoint, out_item='metrics', **settings)

    def measure(self, job: Job) -> dict[str, float]:
        """Metrics of a baseline.

        Raises:
            JobFailed: It failed.
        """
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

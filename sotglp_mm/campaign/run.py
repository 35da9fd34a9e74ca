"""One job of a campaign: train, test, write the result down."""

import shlex
from pathlib import Path

from ..engine import latest_checkpoint
from ..io.json_file import read_json
from ..utils.packaged_files import TOOLS
from .files import LOG, RESULT, SETTINGS, write_json
from .plan import Job
from .process import run_command

SHOWN_LINES = 15


class JobFailed(RuntimeError):
    """A job has no result; says why."""


def run_job(job: Job, launch: list[str], launch_flags: list[str]) -> dict:
    """Train, or go on training; test the last epoch; write and return the result.

    Args:
        job: What to do.
        launch: Command that a tool is started with, e.g. ``[python]``.
        launch_flags: What the tools are told of that.

    Raises:
        JobFailed: A command failed, or left nothing behind.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    write_json(job.folder / SETTINGS, {**job.describe(), 'settings': job.settings})
    log(
        job,
        job.name + (f'; batch size {job.batch_size}: {job.batch_note}' if job.batch_note else ''),
    )
    common = [*launch_flags, '--cfg-options', *job.options]
    goal = job.folder / f'epoch_{job.epochs}.pth'
    # by what is on the disk: a job may have been killed before MMEngine's note was written
    if latest_checkpoint(job.folder).path != goal:
        flags = ['--work-dir', str(job.folder), '--resume', *common]
        execute(job, [*launch, str(TOOLS / 'train.py'), str(job.config), *flags])
    found = latest_checkpoint(job.folder).path
    if found != goal:
        raise JobFailed(f'training ended, and its last checkpoint is {found}; expected {goal}')
    metrics = test(job, goal, launch, common)
    result = {**job.describe(), 'metrics': dict(sorted(metrics.items()))}
    write_json(job.folder / RESULT, result)
    return result


def test(job: Job, checkpoint: Path, launch: list[str], common: list[str]) -> dict:
    """Metrics of a checkpoint."""
    folder = job.folder / 'test'
    folder.mkdir(exist_ok=True)
    out = folder / 'metrics.json'
    out.unlink(missing_ok=True)  # of an attempt that was killed
    flags = ['--work-dir', str(folder), '--out', str(out), '--out-item', 'metrics', *common]
    execute(job, [*launch, str(TOOLS / 'test.py'), str(job.config), str(checkpoint), *flags])
    try:
        return read_json(out)
    except (OSError, ValueError) as error:
        raise JobFailed(f'testing ended well and left no metrics in {out}: {error}') from error


def log(job: Job, text: str) -> None:
    """Add a line to the job's log."""
    with (job.folder / LOG).open('a', encoding='utf-8') as stream:
        stream.write(f'{text}\n')


def execute(job: Job, command: list[str]) -> None:
    """Run a command, its output in the job's log.

    Raises:
        JobFailed: It failed; with the end of the log.
    """
    log(job, f'$ {shlex.join(command)}')
    file = job.folder / LOG
    status = run_command(command, file)
    if status:
        ended = f'was killed by signal {-status}' if status < 0 else f'exit status {status}'
        lines = file.read_text(encoding='utf-8', errors='replace').splitlines()[-SHOWN_LINES:]
        tail = '\n'.join(f'    {line}' for line in lines)
        tool = next(Path(word).name for word in command if word.startswith(str(TOOLS)))
        raise JobFailed(f'{tool}: {ended}; the end of {file}:\n{tail}')

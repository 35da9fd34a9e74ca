"""Files of a campaign: what a job leaves in its folder, and how it is written and locked."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..io.files import write_atomically
from ..io.json_file import read_json

RESULT = 'result.json'
SETTINGS = 'settings.json'
LOG = 'log.txt'
LAST = 'last_checkpoint'  # MMEngine's: the path of the latest one
PLAN = 'campaign.json'

RESULT_KEYS = {
    'dataset': str,
    'shots': int,
    'seed': int,
    'config': str,
    'cfg_options': list,
    'epochs': int,
    'metrics': dict,
}
"""What every result holds, and of which type it is; there may be more."""


def write_json(file: Path, content: dict) -> None:
    """See :func:`write_atomically`."""
    write_atomically(file, json.dumps(content, indent=2) + '\n', 'Make room, and run it again')


def read_result(file: Path) -> dict:
    """A job's result.

    Raises:
        ValueError: The file is broken.
    """
    advice = 'remove it, and run tools/run_benchmark.py again to repeat the job'
    try:
        result = read_json(file)
    except ValueError as error:
        raise ValueError(f'{error}; {advice}') from error
    if not isinstance(result, dict):
        raise ValueError(f'{file} holds a {type(result).__name__}, expected an object; {advice}')
    for key, kind in RESULT_KEYS.items():
        # True is an int to Python, and no number of shots
        if not isinstance(result.get(key), kind) or isinstance(result[key], bool):
            found = repr(result[key]) if key in result else 'nothing'
            raise ValueError(f'{file}: {key!r} is {found}, expected {kind.__name__}; {advice}')
    for key, value in result['metrics'].items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise ValueError(f'{file}: metric {key!r} is {value!r}, expected a number; {advice}')
    return result


@contextmanager
def lock(file: Path, wait: bool = False) -> Iterator[bool]:
    """Whether this process has the lock for the block; the system frees it, however it ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('a') as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def read_plan(work_dir: Path) -> list[tuple[str, int, int]]:
    """(dataset, shots, seed) of all that was asked for in this folder, sorted.

    Raises:
        ValueError: The file is broken.
    """
    file = work_dir / PLAN
    if not file.is_file():
        return []
    advice = 'remove it, and tools/run_benchmark.py writes it anew'
    try:
        content = read_json(file)
    except ValueError as error:
        raise ValueError(f'{error}; {advice}') from error
    jobs = content.get('jobs') if isinstance(content, dict) else None
    if not isinstance(jobs, list):
        raise ValueError(f"{file} is {repr(content)[:60]}, expected 'jobs', a list; {advice}")
    for job in jobs:
        # the types themselves: True is an int to Python
        if not isinstance(job, list) or [type(value) for value in job] != [str, int, int]:
            raise ValueError(
                f'{file} has the job {repr(job)[:60]}, expected [dataset, shots, seed]; {advice}'
            )
    return sorted((dataset, shots, seed) for dataset, shots, seed in jobs)


def add_to_plan(work_dir: Path, jobs: list[tuple[str, int, int]]) -> None:
    """Jobs asked for now join those of earlier calls: a scheduler makes one call a job."""
    with lock(work_dir / '.campaign.lock', wait=True):
        known = read_plan(work_dir)
        jobs = sorted({*known, *jobs})
        if jobs != known:
            write_json(work_dir / PLAN, {'jobs': jobs})

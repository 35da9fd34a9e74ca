"""What a campaign leaves on disk: its plan, and the settings and the result of each job.

``WORK_DIR/campaign.json`` lists all jobs ever asked for; a job's folder has ``settings.json`` from
its start on, ``log.txt``, and at its end ``result.json``.
"""

import json
from pathlib import Path

from filelock import FileLock

from ..io.files import write_atomically
from ..io.json_file import differences, read_record
from .plan import Job, Key

RESULT, SETTINGS, LOG, PLAN = 'result.json', 'settings.json', 'log.txt', 'campaign.json'
JOB_LOCK = '.job.lock'  # not that of a run, which training takes in the same folder
SETTINGS_KEYS: dict[str, type] = {'config': str, 'cfg_options': list, 'settings': dict}
RESULT_KEYS: dict[str, type] = {
    **{'dataset': str, 'shots': int, 'seed': int, 'config': str},
    **{'cfg_options': list, 'epochs': int, 'metrics': dict},
}
"""What every file holds, and of which type it is; there may be more."""


def write_record(file: Path, content: dict) -> None:
    """As JSON."""
    write_atomically(file, json.dumps(content, indent=2) + '\n')


def read_result(file: Path) -> dict:
    """A job's result, or ``FileNotFoundError``, or ``ValueError`` if the file is broken."""
    advice = 'remove it, and run the campaign again to repeat the job'
    result = read_record(file, RESULT_KEYS, advice)
    for key, value in result['metrics'].items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise ValueError(f'{file}: metric {key!r} is {value!r}, expected a number; {advice}')
    return result


def read_plan(work_dir: Path) -> list[Key]:
    """(dataset, shots, seed) of all that was asked for in this folder, sorted."""
    file = work_dir / PLAN
    if not file.is_file():
        return []
    advice = 'remove it, and the next campaign in this folder writes it anew'
    jobs = read_record(file, {'jobs': list}, advice)['jobs']
    for job in jobs:
        # the types themselves: True is an int to Python
        if not isinstance(job, list) or [type(value) for value in job] != [str, int, int]:
            raise ValueError(
                f'{file} has the job {repr(job)[:60]}, expected [dataset, shots, seed]; {advice}'
            )
    return sorted((dataset, shots, seed) for dataset, shots, seed in jobs)


def add_to_plan(work_dir: Path, jobs: list[Key]) -> None:
    """Jobs asked for now join those of earlier calls: a scheduler makes one call a job."""
    work_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(work_dir / '.campaign.lock'):
        known = read_plan(work_dir)
        jobs = sorted({*known, *jobs})
        if jobs != known:
            write_record(work_dir / PLAN, {'jobs': jobs})


def is_done(job: Job) -> bool:
    """Whether the job has a result; ``ValueError`` if its folder has one of other settings."""
    try:
        advice = 'remove its folder, and the job is done anew'
        started = read_record(job.folder / SETTINGS, SETTINGS_KEYS, advice)
    except FileNotFoundError:
        started = {}
    # a job that failed before its first checkpoint may be tried with other settings
    begun = (job.folder / RESULT).exists() or any(job.folder.glob('*.pth'))
    if begun and started and started['settings'] != job.settings:
        raise ValueError(_describe_difference(job, started))
    try:
        result = read_result(job.folder / RESULT)
    except FileNotFoundError:
        return False
    except ValueError as error:
        print(f'{error}: the job is done again')
        return False
    if result.get('settings_sha256') != job.digest:
        raise ValueError(_describe_difference(job, result))
    return True


def _describe_difference(job: Job, before: dict) -> str:
    lines = [f'{job.folder} was made with other settings.']
    for title, each in (('there', before), ('now', job.describe())):
        options = ' '.join(map(str, each['cfg_options'])) or 'none'
        lines.append(
            f'  {title + ":":6} config {each["config"]}, --cfg-options {options}, '
            f'settings sha256 {str(each.get("settings_sha256"))[:12]}'
        )
    there = before.get('settings')
    for key, old, new in sorted(differences(there, job.settings))[:1] if there else ():
        lines.append(f'  first difference: {key} is {old} there and {new} now')
    lines.append('Take another --work-dir, or remove that folder to run the job anew.')
    return '\n'.join(lines)

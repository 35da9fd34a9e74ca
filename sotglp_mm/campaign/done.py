"""Is a job done, and was what lies in its folder made with its settings?"""

from pathlib import Path

from ..io.json_file import read_json
from .files import LAST, RESULT, SETTINGS, read_result
from .plan import Job

SETTINGS_KEYS = {'config': str, 'cfg_options': list, 'settings': dict}


def is_done(job: Job) -> bool:
    """Whether the job has a whole result of these settings.

    Raises:
        ValueError: What is in the folder was made with other settings.
    """
    started = _read_settings(job.folder / SETTINGS)
    # a job that failed before its first checkpoint may be tried with other settings
    kept = any((job.folder / name).exists() for name in (LAST, RESULT))
    if kept and started and started['settings'] != job.settings:
        raise ValueError(_differs(job, started))
    try:
        result = read_result(job.folder / RESULT)
    except FileNotFoundError:
        return False
    except ValueError as error:
        print(f'{error}: the job is done again')
        return False
    if result.get('settings_sha256') != job.digest:
        raise ValueError(_differs(job, result))
    return True


def _read_settings(file: Path) -> dict:
    advice = 'remove the folder it is in, and the job is done anew'
    try:
        started = read_json(file)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f'{error}; {advice}') from error
    if not isinstance(started, dict):
        raise ValueError(f'{file} holds a {type(started).__name__}, expected an object; {advice}')
    for key, kind in SETTINGS_KEYS.items():
        if not isinstance(started.get(key), kind):
            found = repr(started[key])[:60] if key in started else 'nothing'
            raise ValueError(f'{file}: {key!r} is {found}, expected {kind.__name__}; {advice}')
    return started


def _differs(job: Job, found: dict) -> str:
    now = job.describe()
    lines = [f'{job.folder} was made with other settings.']
    for title, each in (('there', found), ('now', now)):
        options = ' '.join(map(str, each['cfg_options'])) or 'none'
        lines.append(
            f'  {title + ":":6} config {each["config"]}, --cfg-options {options}, '
            f'settings sha256 {str(each.get("settings_sha256"))[:12]}'
        )
    there = found.get('settings', {})
    for key in sorted({*there, *job.settings}) if there else ():
        if there.get(key, 'absent') != job.settings.get(key, 'absent'):
            old, new = (each.get(key, 'absent') for each in (there, job.settings))
            lines.append(f'  first difference: {key} is {old!r} there and {new!r} now')
            break
    lines.append('Take another --work-dir, or remove that folder to run the job anew.')
    return '\n'.join(lines)

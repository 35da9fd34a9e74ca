"""What a checkpoint must hold so that a run goes on from it as if nothing had happened."""

from typing import Any

from torch import Tensor

RESUMES_WITH: dict[str, dict[str, type]] = {
    'state_dict': {},
    'optimizer': {'state': dict, 'param_groups': list},
    'message_hub': {'log_scalars': dict, 'runtime_info': dict, 'resumed_keys': dict},
    'meta': {'epoch': int, 'iter': int},
}
"""Parts, their entries, and the kind of each."""

HISTORY = 'history_buffer'
"""Key of a log's history where it is kept as plain tensors."""


def lacking_part(content: dict, schedulers: int | None = None) -> str | None:
    """What keeps a run from going on, in words; None if nothing does.

    MMEngine passes over some of this without a word, and begins a schedule anew, say.

    Args:
        content: Of a checkpoint; its tensors may be on 'meta'.
        schedulers: How many the config has, if that is known.
    """
    for name, entries in RESUMES_WITH.items():
        part = content.get(name)
        if not isinstance(part, dict):
            return f'no {name!r}'
        lacking = [entry for entry in entries if entry not in part]
        if lacking:
            return f'{name!r} without {lacking}'
        for entry, kind in entries.items():
            if not isinstance(part[entry], kind) or isinstance(part[entry], bool):
                return f'{name}.{entry} = {_short(part[entry])} instead of {kind.__name__}'
    return (
        _wrong_schedulers(content, schedulers)
        or _wrong_groups(content['optimizer']['param_groups'])
        or _wrong_history(content['message_hub']['log_scalars'])
        or _wrong_random_states(content.get('random_states'))
    )


def _wrong_schedulers(content: dict, expected: int | None) -> str | None:
    found = content.get('param_schedulers')
    if found is not None and not (isinstance(found, list) and _all_dicts(found)):
        return f'param_schedulers = {_short(found)} instead of a list'
    if not expected or (found is not None and len(found) == expected):
        return None
    has = "no 'param_schedulers'" if found is None else f'{len(found)} param_schedulers'
    return f'{has}, and the config has {expected}: the learning rate would begin anew'


def _wrong_groups(groups: list) -> str | None:
    right = groups and _all_dicts(groups) and all('params' in group for group in groups)
    return None if right else f'optimizer.param_groups = {_short(groups)}'


def _wrong_history(scalars: dict) -> str | None:
    for name, history in scalars.items():
        is_buffer = callable(getattr(history, 'statistics', None))  # MMEngine's own, unconverted
        if not is_buffer and not _is_plain_history(history):
            return f'message_hub.log_scalars.{name} = {_short(history)}, which is no history'
    return None


def _is_plain_history(history: Any) -> bool:
    saved = history.get(HISTORY) if isinstance(history, dict) else None
    return (
        isinstance(saved, dict)
        and all(isinstance(saved.get(key), Tensor) for key in ('values', 'counts'))
        and saved['values'].shape == saved['counts'].shape
        and type(saved.get('max_length')) is int
    )


def _wrong_random_states(states: Any) -> str | None:
    """They may be absent: the run goes on with a warning."""
    if states is None:
        return None
    processes = states.get('processes') if isinstance(states, dict) else None
    right = isinstance(processes, list) and _all_dicts(processes) and 'sampler_seed' in states
    return None if right else f'random_states = {_short(states)}'


def _all_dicts(values: list) -> bool:
    return all(isinstance(value, dict) for value in values)


def _short(value: Any, longest: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= longest else f'{text[:longest]}...'

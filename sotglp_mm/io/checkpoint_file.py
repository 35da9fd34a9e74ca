"""Reading a checkpoint safely and completely, or saying what is wrong with the file."""

import errno
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

MapLocation = str | torch.device | Callable | None

RESUMES_WITH: dict[str, dict[str, type]] = {
    'state_dict': {},
    'optimizer': {'state': dict, 'param_groups': list},
    'message_hub': {'log_scalars': dict, 'runtime_info': dict, 'resumed_keys': dict},
    'meta': {'epoch': int, 'iter': int},
}
"""Parts that a run resumes from, and their entries. MMEngine silently skips absent ones."""


class CheckpointMismatch(ValueError, RuntimeError):
    """A checkpoint does not belong to the model; RuntimeError is what torch raises for that."""


class BrokenCheckpoint(ValueError):
    """A file is not a checkpoint, or is not complete."""


@contextmanager
def naming_checkpoint(path: str | Path | None) -> Iterator[None]:
    """Where a mismatch is raised inside, say which file it is about."""
    try:
        yield
    except CheckpointMismatch as error:
        raise CheckpointMismatch(f'{path}: {error}') from error


@contextmanager
def refusing_checkpoint(what: str) -> Iterator[None]:
    """An error inside means that a checkpoint does not fit; say which part of it."""
    try:
        yield
    except Exception as error:  # optimisers and generators each raise their own kind
        raise CheckpointMismatch(
            f'{what} cannot be restored from it ({type(error).__name__}: {error}): it is not a '
            'checkpoint of this config, or it is damaged. Nothing was trained. Use the config '
            'that it was written with'
        ) from error


def read_checkpoint(path: str | Path, map_location: MapLocation = 'cpu') -> dict:
    """A checkpoint whose checksums are right. No code in it is run.

    Files in torch's format of before 1.6 have no checksums.

    Raises:
        FileNotFoundError: The file does not exist.
        OSError: The system cannot read it.
        BrokenCheckpoint: It is truncated, damaged, compressed, not a file of torch's, does not
            hold a dict, or holds more than tensors and plain values.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; expected the checkpoint of a run')
    try:
        if is_torchscript(path):
            raise BrokenCheckpoint('it is a TorchScript archive')
        for member in _members(path):
            if member.compress_type != zipfile.ZIP_STORED:  # it could fill the memory
                size = f'{member.file_size / 1e6:.4g} MB, and torch.save does not compress'
                raise BrokenCheckpoint(f'{member.filename!r} in it unpacks to {size}')
        if damaged := damaged_member(path):
            raise BrokenCheckpoint(f'the checksum of {damaged!r} in it is wrong')
        with torch.serialization.safe_globals(LOG_HISTORY):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
        if not isinstance(checkpoint, dict):
            kind = type(checkpoint).__name__
            raise BrokenCheckpoint(f"it holds a {kind}, not a dict with 'state_dict'")
    except Exception as error:  # torch, zipfile and pickle each raise their own kind
        # of a truncated file torch wants what is before its beginning: EINVAL
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise OSError(error.errno, f'{path} cannot be read: {error.strerror}') from error
        raise BrokenCheckpoint(
            f'{path} cannot be read as a checkpoint: {_reason(error)}. It has '
            f'{path.stat().st_size} bytes; expected a complete file that torch.save wrote, of '
            'tensors and plain values, such as epoch_50.pth of a run. Take an earlier one, or '
            'copy it again'
        ) from error
    return checkpoint


def damaged_member(path: str | Path) -> str | None:
    """The member of a zip archive whose checksum is wrong, or None. torch ignores checksums."""
    if not zipfile.is_zipfile(path):
        return None  # torch's older format, or not a checkpoint at all: torch.load says so
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def is_torchscript(path: str | Path) -> bool:
    """Is it an archive of ``torch.jit.save``?"""
    return any(member.filename.endswith('/constants.pkl') for member in _members(path))


def _members(path: str | Path) -> list[zipfile.ZipInfo]:
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return archive.infolist()


def _reason(error: Exception, longest: int = 300) -> str:
    """What torch refused, without its advice to load the file unsafely."""
    if isinstance(error, BrokenCheckpoint):
        return str(error)
    text = str(error).rpartition('WeightsUnpickler error:')[2].strip().split('\n')[0]
    refused = re.search(r'GLOBAL (\S+)', text) or re.search(r'\b((?:\w+\.)+\w+) was not an', text)
    if refused and isinstance(error, pickle.UnpicklingError):
        return f'it holds a {refused[1]}, whose code is not run'
    return f'{type(error).__name__}: {text or "no details"}'[:longest]


def check_weights(path: str | Path) -> None:
    """Raise ``FileNotFoundError`` or ``ValueError`` unless a file holds a model's weights.

    An address (``https://...``) is left to MMEngine.
    """
    if '://' in str(path):
        return
    content = read_checkpoint(path, map_location='meta')
    weights = content.get('state_dict', content)
    values = list(weights.values()) if isinstance(weights, dict) else []
    if not values or not all(isinstance(value, torch.Tensor) for value in values):
        raise ValueError(
            f"{path} holds no weights; found {_names(content)}, expected 'state_dict', as a "
            'training writes it'
        )


def check_resumable(path: str | Path) -> None:
    """Raise ``FileNotFoundError`` or ``ValueError`` unless a run can resume from a file."""
    if '://' in str(path):
        return
    content = read_checkpoint(path, map_location='meta')
    for name, entries in RESUMES_WITH.items():
        part = content.get(name)
        lacking = [repr(name)]
        if isinstance(part, dict):
            wrong = (
                each for each in entries.items() if not isinstance(part.get(each[0]), each[1])
            )
            lacking = [f'{name}.{entry} of type {kind.__name__}' for entry, kind in wrong]
        if lacking:
            raise ValueError(
                f'{path} cannot be resumed from: it has no {lacking[0]}; found {_names(content)}, '
                f'expected {", ".join(RESUMES_WITH)}, as in epoch_<number>.pth of a training. '
                '(best_*.pth keeps weights alone: test it, or train from it with load_from.)'
            )


def not_finite(state: Mapping[str, Any]) -> dict[str, str]:
    """How many numbers are NaN or infinite, e.g. '3 of 12', of each tensor that has any."""
    tensors = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    counts = {key: value.numel() - int(value.isfinite().sum()) for key, value in tensors.items()}
    return {key: f'{n} of {tensors[key].numel()}' for key, n in counts.items() if n}


def _names(content: dict, shown: int = 6) -> str:
    names = [repr(name) for name in content]
    return ', '.join(names[:shown]) + (', ...' if len(names) > shown else '') or 'nothing'


def _statistic(owner: type, name: str) -> Any:
    """``getattr`` as a log history needs it: its pickle asks for ``HistoryBuffer.mean`` etc."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise pickle.UnpicklingError(f'getattr of {owner!r} and {name!r} is not allowed')
    return getattr(owner, name)


def _rebuild(function: Any) -> Callable:
    def rebuild(*arguments: Any) -> Any:
        return function(*arguments)

    return rebuild


_ARRAY, _NUMBER = (_rebuild(value.__reduce__()[0]) for value in (np.ones(1), np.float64(1)))
LOG_HISTORY: list[Any] = [
    HistoryBuffer,
    (_statistic, 'builtins.getattr'),  # the real getattr reaches far too much
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in '?bBhHiIlLqQefdU'},
    *((_ARRAY, f'numpy.{core}.multiarray._reconstruct') for core in ('core', '_core')),
    *((_NUMBER, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')),
]
"""What MMEngine puts into a checkpoint, for torch's safe loading. NumPy 2 renamed its core."""

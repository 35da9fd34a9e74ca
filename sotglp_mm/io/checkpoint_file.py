"""Reading a checkpoint whole, or saying what is wrong with the file."""

import errno
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader

from .resumable_parts import RESUMES_WITH, lacking_part
from .safe_loading import TRUST, allow_log_history, load_weights_only, trusts_files

MapLocation = str | torch.device | Callable | None


class CheckpointMismatch(ValueError, RuntimeError):
    """A checkpoint does not belong to the model; RuntimeError is what torch raises for that."""


class BrokenCheckpoint(ValueError):
    """A file is no checkpoint, or not a whole one."""


@contextmanager
def naming_checkpoint(path: str | Path | None) -> Iterator[None]:
    """Where a mismatch is raised inside, say which file it is about."""
    try:
        yield
    except CheckpointMismatch as error:
        raise CheckpointMismatch(f'{path}: {error}') from error


@contextmanager
def refusing_checkpoint(what: str) -> Iterator[None]:
    """Whatever a foreign checkpoint makes fail inside is a mismatch; say of what."""
    try:
        yield
    except CheckpointMismatch:
        raise
    except Exception as error:  # optimisers, schedulers and generators each raise their own kind
        raise CheckpointMismatch(
            f'{what} cannot be restored from it ({type(error).__name__}: {error}): it is not a '
            'checkpoint of this config, or is damaged. Nothing was trained. Use the config that '
            'it was written with'
        ) from error


def read_checkpoint(path: str | Path, map_location: MapLocation = 'cpu') -> dict:
    """A checkpoint, every byte of which was checked against its checksum.

    No code in it is run, unless torch's ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD`` is set. Files in
    torch's format of before 1.6 have no checksums.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: The system does not give it.
        BrokenCheckpoint: It is truncated, damaged, no file of torch's, holds no dict, or more
            than tensors and plain values.
    """
    load_weights_only()  # unless the user has set the opposite since the import
    allow_log_history()  # onedl-mmengine takes the allowance away where it reads from an address
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; expected the checkpoint of a run')
    try:
        damaged = damaged_member(path)
        checkpoint = torch.load(path, map_location=map_location, weights_only=not trusts_files())
    except Exception as error:  # torch, zipfile and pickle each raise their own kind
        # of a truncated file torch wants what is before its beginning: EINVAL
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise OSError(error.errno, f'{path} cannot be read: {error.strerror}') from error
        raise BrokenCheckpoint(
            f'{path} cannot be read as a checkpoint ({_reason(error)}). It has '
            f'{path.stat().st_size} bytes and is truncated, damaged, holds objects whose code is '
            f'not run (unless you trust the file and set {TRUST}=1), or was not written by '
            'torch.save; expected a checkpoint of a run, such as epoch_50.pth. Take an earlier '
            'one, or copy it again'
        ) from error
    if damaged is not None:
        raise BrokenCheckpoint(
            f'{path} cannot be read as a checkpoint: the checksum of {damaged!r} in it is wrong, '
            'the file is damaged. Take an earlier one, or copy it again'
        )
    if not isinstance(checkpoint, dict):
        raise BrokenCheckpoint(
            f'{path} cannot be read as a checkpoint: it holds a {type(checkpoint).__name__}; '
            "expected a dict with 'state_dict', as a training writes it"
        )
    return checkpoint


@CheckpointLoader.register_scheme('', force=True)
def load_from_local(filename: str, map_location: MapLocation = None) -> dict:
    """What MMEngine reads every file by, ``load_from`` and the inferencers' too.

    Its own reader takes damaged files without a word.
    """
    return read_checkpoint(filename, map_location)


def is_torchscript(path: str | Path) -> bool:
    """Is it an archive of ``torch.jit.save``? Loading one by torch runs code in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith('/constants.pkl') for name in archive.namelist())


def _reason(error: Exception, longest: int = 300) -> str:
    """What torch found, without its advice to load the file unsafely."""
    text = str(error).rpartition('WeightsUnpickler error:')[2].strip()
    return f'{type(error).__name__}: {text.splitlines()[0] if text else "no details"}'[:longest]


def damaged_member(path: str | Path) -> str | None:
    """The part of a zip archive whose checksum is wrong; None if all are right, or it is no zip.

    torch reads a file with wrong checksums without a word.
    """
    if not zipfile.is_zipfile(path):
        return None  # torch's older format, or no checkpoint at all: torch.load will tell
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def check_weights(path: str | Path) -> None:
    """Does a file hold a model's weights? An address (``https://...``) is left to MMEngine.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint, or has no weights.
    """
    if '://' in str(path):
        return
    content = read_checkpoint(path, map_location='meta')
    weights = content.get('state_dict', content)
    if not isinstance(weights, dict) or not _are_tensors(weights):
        raise ValueError(
            f'{path} holds no weights; found {_names(content)}, expected '
            "'state_dict', as a training writes it"
        )


def check_resumable(path: str | Path, schedulers: int | None = None) -> None:
    """Does a file hold all that a run needs to go on?

    Args:
        path: Of the file.
        schedulers: How many schedules (``param_scheduler``) the run's config has, if it is known.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint, or lacks something.
    """
    if '://' in str(path):
        return
    content = read_checkpoint(path, map_location='meta')
    lacking = lacking_part(content, schedulers)
    if lacking:
        expected = ', '.join([*RESUMES_WITH, *(['param_schedulers'] if schedulers else [])])
        raise ValueError(
            f'{path} cannot be resumed from: it has {lacking}; found {_names(content)}, expected '
            f'{expected}, as in epoch_<number>.pth of a training with this config. (best_*.pth '
            'keeps weights alone: use it with tools/test.py, or as load_from.)'
        )


def _are_tensors(weights: dict) -> bool:
    return bool(weights) and all(isinstance(value, torch.Tensor) for value in weights.values())


def _names(content: dict, shown: int = 6) -> str:
    names = [repr(name) for name in content]
    return ', '.join(names[:shown]) + (', ...' if len(names) > shown else '') or 'nothing'

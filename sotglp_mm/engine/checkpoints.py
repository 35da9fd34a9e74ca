"""Checkpoints: written completely, in plain values, and found again."""

import os
import re
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..io.checkpoint_file import BrokenCheckpoint, check_resumable, refusing_checkpoint
from ..io.files import TEMPORARY, write_atomically
from ..utils.settings import checked_settings

POINTER = 'last_checkpoint'
"""MMEngine's file in the work dir, with the path of the newest checkpoint."""

NAME = re.compile(r'(epoch|iter)_(\d+)\.pth')
HISTORY = 'history_buffer'
"""Key of a log's history where it is kept as plain tensors."""


@register_backend('checkpoint_files', force=True)
class CheckpointFilesBackend(LocalBackend):
    """Local files, written completely; a removed one goes once the next one is on the disk.

    MMEngine removes the outdated checkpoint before it writes the new one.
    """

    outdated: ClassVar[list[Path]] = []  # MMEngine makes one backend to remove, another to write

    def put(self, obj: bytes, filepath: str | Path) -> None:
        outdated = self.outdated.copy()
        self.outdated.clear()
        write_atomically(filepath, obj)
        for path in outdated:
            if path != Path(filepath):
                path.unlink(missing_ok=True)

    def remove(self, filepath: str | Path) -> None:
        self.outdated.append(Path(filepath))


@HOOKS.register_module()
@checked_settings
class WholeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, which always leaves a complete checkpoint.

    MMEngine writes into the file itself, and deletes the outdated checkpoint before: a process
    that is killed, or a disk that is full, leaves half a file, and with ``max_keep_ckpts=1``
    nothing else. Arguments are those of ``CheckpointHook``; with other ``backend_args`` (a storage
    elsewhere), that storage decides how files are written.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backend_args: dict | None
        if self.backend_args is None and self.file_client_args is None:
            self.backend_args = dict(backend='checkpoint_files')

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        # an earlier run of this process may have failed before it wrote the next file
        CheckpointFilesBackend.outdated.clear()
        if is_main_process() and isinstance(self.file_backend, LocalBackend):
            for part in Path(self.out_dir).glob(f'*.pth*{TEMPORARY}'):
                part.unlink()
                runner.logger.info(f'Removed {part}, which a killed process left incomplete')


@HOOKS.register_module()
@checked_settings
class PlainCheckpointHook(Hook):
    """Writes MMEngine's log history and numpy scalars as tensors and plain numbers.

    So ``torch.load(..., weights_only=True)`` reads a checkpoint anywhere. On resuming, the log
    history becomes again what MMEngine needs, and MMCV's ``meta.config``, Python text that
    MMEngine would run, is left out.
    """

    priority = 'VERY_LOW'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        for key in checkpoint:
            if key != 'state_dict':
                checkpoint[key] = _to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint.get('meta', {}).pop('config', None)
        hub = checkpoint.get('message_hub')
        if hub and 'log_scalars' in hub:
            with refusing_checkpoint('The log'):
                scalars = {name: _to_buffer(plain) for name, plain in hub['log_scalars'].items()}
            checkpoint['message_hub'] = {**hub, 'log_scalars': scalars}


def _to_plain(value: Any) -> Any:
    """A copy without numpy and MMEngine classes."""
    if isinstance(value, HistoryBuffer):
        values, counts = (torch.tensor(series) for series in value.data)
        return {HISTORY: dict(values=values, counts=counts, max_length=value.max_length)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return type(value)((key, _to_plain(item)) for key, item in value.items())
    if type(value) in (list, tuple):
        return type(value)(_to_plain(item) for item in value)
    return value


def _to_buffer(plain: dict | HistoryBuffer) -> HistoryBuffer:
    if isinstance(plain, HistoryBuffer):
        return plain
    saved = plain[HISTORY]
    series = (saved[name].cpu().numpy() for name in ('values', 'counts'))
    return HistoryBuffer(*series, saved['max_length'])


class LatestCheckpoint(NamedTuple):
    """Result of :func:`latest_checkpoint`."""

    path: Path | None  # None if no complete one is there
    skipped: list[str]  # what is wrong with newer ones, a sentence each


def latest_checkpoint(work_dir: str | Path) -> LatestCheckpoint:
    """The newest complete checkpoint of a work dir.

    First comes the one that MMEngine's file ``last_checkpoint`` names, also if the folder has
    been moved since; then the others there and in the work dir, the highest epoch first, whatever
    their times. Broken ones are skipped.

    Raises:
        ValueError: A complete one cannot be resumed from: a new run would overwrite it.
        OSError: The system cannot read one.
    """
    skipped: list[str] = []
    for path in _candidates(Path(work_dir), skipped):
        try:
            check_resumable(path)
        except (BrokenCheckpoint, FileNotFoundError) as error:  # removed by another process
            skipped.append(str(error))
        except ValueError as error:
            raise ValueError(f'{error} A new run needs another work dir.') from error
        else:
            return LatestCheckpoint(path, skipped)
    return LatestCheckpoint(None, skipped)


def _candidates(work_dir: Path, skipped: list[str]) -> list[Path]:
    named = _named_by_pointer(work_dir, skipped)
    folders = {work_dir, *(file.parent for file in named)}  # CheckpointHook's out_dir is another
    found = [(NAME.fullmatch(file.name), file) for path in folders for file in path.glob('*.pth')]
    numbered = [(int(name[2]), file) for name, file in found if name]
    others = [file for _, file in sorted(numbered, reverse=True)]
    return [*named, *(file for file in others if file not in named)]


def _named_by_pointer(work_dir: Path, skipped: list[str]) -> list[Path]:
    pointer = work_dir / POINTER
    if not pointer.is_file():
        return []
    written = pointer.read_text(encoding='utf-8', errors='replace').strip()
    named = [work_dir / Path(written).name, Path(written)]
    # a text that cannot be a path is not an error for os.path
    named = [file for file in named if file.suffix == '.pth' and os.path.isfile(file)]
    if not named:
        skipped.append(f'{pointer} names {written[:200]!r}, and there is no such checkpoint')
    return named[:1]

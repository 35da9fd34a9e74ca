"""Checkpoints that survive being killed while they are written."""

import re
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..io.files import TEMPORARY, write_atomically
from ..utils.settings import checked_settings

BEST = re.compile(r'(best_.+_)(\d+)\.pth')
"""Name of a best one: metric and unit; epoch or iteration."""


class _RemovesLater:
    """A file backend that only remembers what it is asked to remove."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.outdated: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        """Not now."""
        self.outdated.append(path)


@HOOKS.register_module()
@checked_settings
class WholeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, in an order that always leaves a whole checkpoint.

    MMEngine writes into the file itself, and deletes the outdated checkpoint before: a process
    that is killed, or a disk that is full, leaves half a file, and with ``max_keep_ckpts=1``
    nothing else. Here a checkpoint and the note ``last_checkpoint`` get their names once they are
    on the disk, and outdated ones go last. The same holds for the best one of ``save_best``.

    Args:
        *args: As in ``CheckpointHook``.
        **kwargs: As in ``CheckpointHook``. With ``backend_args`` of one's own (a storage
            elsewhere), how files are written is that storage's affair.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backend_args: dict | None
        self.keep_ckpt_ids: deque[int]
        self.file_backend: Any
        if self.backend_args is None and self.file_client_args is None:
            self.backend_args = dict(backend='atomic_local')

    def before_train(self, runner: Runner) -> None:
        """Settle the folder, and clear what a killed process left in it."""
        super().before_train(runner)
        if is_main_process() and isinstance(self.file_backend, LocalBackend):
            for part in Path(self.out_dir).glob(f'*.pth*{TEMPORARY}'):
                part.unlink()
                runner.logger.info(f'Removed {part}, which a killed process left half written')
            for path in self._replaced(runner.epoch if self.by_epoch else runner.iter):
                path.unlink()
                runner.logger.info(f'Removed {path}: a better one has replaced it')

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save, say so in ``last_checkpoint``, then delete what is outdated."""
        outdated = self._note_kept(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_atomically(Path(runner.work_dir) / 'last_checkpoint', self.last_ckpt)
            self._delete(outdated)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """MMEngine deletes the previous best one first; here it goes once the new one is there."""
        if not self.save_best:
            return
        backend = self.file_backend
        self.file_backend = later = _RemovesLater(backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        for path in later.outdated:
            if path not in self._best() and backend.isfile(path):
                backend.remove(path)

    def _best(self) -> set[str]:
        """Paths of the best ones, one for each metric of ``save_best``."""
        # MMEngine has the one or the other, by the number of metrics
        several = getattr(self, 'best_ckpt_path_dict', {})
        return {getattr(self, 'best_ckpt_path', None), *several.values()} - {None}

    def _replaced(self, step: int) -> list[Path]:
        """Best ones of before ``step`` that a killed process had replaced, and did not delete."""
        replaced = []
        for best in map(Path, self._best()):
            kind = BEST.fullmatch(best.name)
            for path in Path(self.out_dir).glob('best_*.pth'):
                other = BEST.fullmatch(path.name)
                if kind and other and kind[1] == other[1] and int(other[2]) < step:
                    replaced += [path] if path.name != best.name else []
        return replaced

    def _note_kept(self, runner: Runner, step: int) -> list[int]:
        """Steps whose checkpoints go; the others are noted in the checkpoint itself."""
        if self.max_keep_ckpts <= 0:
            return []
        steps = [kept for kept in self.keep_ckpt_ids if kept != step] + [step]
        outdated, kept = steps[: -self.max_keep_ckpts], steps[-self.max_keep_ckpts :]
        self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
        runner.message_hub.update_info('keep_ckpt_ids', kept)
        return outdated

    def _delete(self, steps: list[int]) -> None:
        for step in steps:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)

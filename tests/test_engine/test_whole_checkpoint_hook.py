"""Whatever happens while a checkpoint is written, a whole one is there."""

import errno
import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from mini_checkpoints import write_checkpoint
from mmengine.fileio import get_file_backend
from mmengine.logging import MessageHub
from mmpretrain.registry import HOOKS

from sotglp_mm.engine import latest_checkpoint
from sotglp_mm.io.files import write_atomically


class Told:
    """A logger that remembers."""

    def __init__(self):
        self.lines = []
        self.info = self.lines.append


def runner_in(work_dir: Path, fail: bool = False) -> SimpleNamespace:
    """All that the hook asks of a runner; its checkpoints are whole, or fail to be written."""

    def save(out_dir: str, filename: str, *args, backend_args=None, **kwargs) -> None:
        if fail:
            raise OSError(errno.ENOSPC, 'No space left on device')
        whole = write_checkpoint(work_dir / 'source')
        get_file_backend(out_dir, backend_args=backend_args).put(
            whole.read_bytes(), f'{out_dir}/{filename}'
        )
        whole.unlink()

    hub = MessageHub(f'{work_dir.name} {len(MessageHub._instance_dict)}')
    return SimpleNamespace(
        work_dir=str(work_dir),
        logger=Told(),
        message_hub=hub,
        save_checkpoint=save,
        iter=0,
        epoch=0,
    )


def save_epochs(work_dir: Path, steps: list[int], fail: bool = False, **settings) -> Told:
    hook = HOOKS.build(dict(type='WholeCheckpointHook', interval=1, **settings))
    runner = runner_in(work_dir, fail)
    hook.before_train(runner)
    for step in steps:
        hook._save_checkpoint_with_step(runner, step, meta={})
    return runner.logger


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_the_last_ones_are_kept(tmp_path: Path):
    save_epochs(tmp_path, [1, 2, 3, 3], max_keep_ckpts=2)
    assert names(tmp_path) == {'epoch_2.pth', 'epoch_3.pth', 'last_checkpoint'}
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_3.pth')


def test_a_full_disk_leaves_the_only_checkpoint(tmp_path: Path):
    save_epochs(tmp_path, [1], max_keep_ckpts=1)
    with pytest.raises(OSError, match='No space left'):
        save_epochs(tmp_path, [2], fail=True, max_keep_ckpts=1)
    assert latest_checkpoint(tmp_path) == (tmp_path / 'epoch_1.pth', [])


def best_after(hook, runner: SimpleNamespace, epoch: int, accuracy: float) -> set[str]:
    runner.epoch = epoch
    hook._save_best_checkpoint(runner, dict(accuracy=accuracy))
    return names(Path(runner.work_dir))


def test_the_previous_best_goes_once_the_new_one_is_there(tmp_path: Path):
    settings = dict(save_best='accuracy', rule='greater', interval=1)
    hook = HOOKS.build(dict(type='WholeCheckpointHook', **settings))
    runner = runner_in(tmp_path)
    hook.before_train(runner)
    first, second = ({f'best_accuracy_epoch_{epoch}.pth'} for epoch in (1, 2))
    assert best_after(hook, runner, 1, 0.5) == first
    assert best_after(hook, runner, 2, 0.4) == first
    assert best_after(hook, runner, 2, 0.6) == second
    assert best_after(hook, runner, 2, 0.7) == second  # the same name: it is not deleted
    runner.save_checkpoint = runner_in(tmp_path, fail=True).save_checkpoint
    with pytest.raises(OSError, match='No space left'):
        best_after(hook, runner, 3, 0.9)
    assert names(tmp_path) == second


@pytest.mark.parametrize('metrics', ['accuracy', ['accuracy', 'recall']])
def test_a_best_one_that_a_killed_process_had_replaced_is_removed(tmp_path: Path, metrics):
    """But not those of now or later, of other metrics, or that are none."""
    hook = HOOKS.build(dict(type='WholeCheckpointHook', save_best=metrics, rule='greater'))
    runner = runner_in(tmp_path)
    runner.epoch = 5
    key = 'best_ckpt' if metrics == 'accuracy' else 'best_ckpt_accuracy'
    runner.message_hub.update_info(key, '/elsewhere/best_accuracy_epoch_3.pth')
    stay = ['best_accuracy_epoch_3', 'best_accuracy_epoch_5', 'best_accuracy_epoch_6']
    stay += ['best_recall_epoch_2', 'best_accuracy_iter_2', 'best_of_all', 'epoch_2']
    for name in ('best_accuracy_epoch_2', *stay):
        (tmp_path / f'{name}.pth').touch()
    hook.before_train(runner)
    assert names(tmp_path) == {f'{name}.pth' for name in stay}
    assert [line for line in runner.logger.lines if 'best_accuracy_epoch_2.pth: a better' in line]


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    (tmp_path / 'epoch_7.pth.12-ab.part').write_bytes(b'half')
    (tmp_path / 'own.part').write_bytes(b'not ours')
    told = save_epochs(tmp_path, [])
    assert names(tmp_path) == {'own.part'}
    assert any('epoch_7.pth.12-ab.part' in line for line in told.lines)


def test_storage_of_ones_own_is_left_alone():
    hook = HOOKS.build(dict(type='WholeCheckpointHook', backend_args=dict(backend='local')))
    assert hook.backend_args == dict(backend='local')


@contextmanager
def small_files():
    """The system itself refuses to write more than 1000 bytes into a file.

    Not a fixture: pytest's own report may go into a file, and must not be written meanwhile.
    """
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_write_that_fails_half_way(tmp_path: Path):
    file = tmp_path / 'epoch_2.pth'
    write_atomically(file, b'before')
    message = r'epoch_2\.pth \(0\.002 MB\) could not be written: '
    with pytest.raises(OSError, match=message) as told, small_files():
        write_atomically(file, b'x' * 2000)
    assert told.value.errno == errno.EFBIG
    assert 'continue with --resume' in str(told.value)
    assert names(tmp_path) == {'epoch_2.pth'}
    assert file.read_bytes() == b'before'


def test_the_bytes_are_on_the_disk_before_they_get_the_name(tmp_path: Path, monkeypatch):
    file = tmp_path / 'epoch_2.pth'

    def full(descriptor: int) -> None:
        assert not file.exists()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='could not be written: No space left on device'):
        write_atomically(file, b'data')
    assert names(tmp_path) == set()

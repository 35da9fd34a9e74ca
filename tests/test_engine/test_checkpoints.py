"""Whatever happens while a checkpoint is written, a complete one is there, and is found."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from mini_checkpoints import flip_a_bit, truncate, write_checkpoint
from mmengine.fileio import get_file_backend
from mmengine.logging import MessageHub
from mmpretrain.registry import HOOKS

from sotglp_mm.engine import latest_checkpoint
from sotglp_mm.io.files import write_atomically


def runner_in(work_dir: Path, fail: bool = False) -> SimpleNamespace:
    """All that the hook asks of a runner; its checkpoints are complete, or fail to be written."""

    def save(out_dir: str, filename: str, *args, backend_args=None, **kwargs) -> None:
        complete = write_checkpoint(work_dir / 'source')
        data = complete.read_bytes()
        complete.unlink()
        backend = get_file_backend(out_dir, backend_args=backend_args)
        with pytest.MonkeyPatch.context() as patch:
            if fail:
                patch.setattr(os, 'fsync', full_disk)
            backend.put(data, f'{out_dir}/{filename}')

    hub = MessageHub(f'{work_dir.name} {len(MessageHub._instance_dict)}')
    return SimpleNamespace(
        **dict(work_dir=str(work_dir), logger=Mock(), message_hub=hub, save_checkpoint=save),
        **dict(iter=0, epoch=0, max_epochs=9, train_loop=Mock()),
    )


def full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def save_epochs(work_dir: Path, epochs: list[int], fail: bool = False, **settings) -> Mock:
    hook = HOOKS.build(dict(type='WholeCheckpointHook', interval=1, **settings))
    runner = runner_in(work_dir, fail)
    runner.message_hub.update_info('keep_ckpt_ids', [epochs[0] - 1] if epochs else [])
    hook.before_train(runner)
    for epoch in epochs:
        runner.epoch = epoch - 1
        hook.after_train_epoch(runner)
    return runner.logger


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_the_last_ones_are_kept(tmp_path: Path):
    save_epochs(tmp_path, [1, 2, 3, 3], max_keep_ckpts=2)
    assert names(tmp_path) == {'epoch_2.pth', 'epoch_3.pth', 'last_checkpoint'}
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_3.pth')


@pytest.mark.parametrize('at', ['disk', 'run'])
def test_a_failure_leaves_the_only_checkpoint(tmp_path: Path, at: str):
    save_epochs(tmp_path, [1], max_keep_ckpts=1)
    if at == 'disk':
        with pytest.raises(OSError, match=r'epoch_2\.pth .* could not be written: No space left'):
            save_epochs(tmp_path, [2], fail=True, max_keep_ckpts=1)
    else:  # before it writes
        hook = HOOKS.build(dict(type='WholeCheckpointHook', interval=1, max_keep_ckpts=1))
        runner = runner_in(tmp_path)
        runner.message_hub.update_info('keep_ckpt_ids', [1])
        runner.save_checkpoint = Mock(side_effect=ValueError('the weights are NaN'))
        hook.before_train(runner)
        runner.epoch = 1
        with pytest.raises(ValueError, match='NaN'):
            hook.after_train_epoch(runner)
    assert latest_checkpoint(tmp_path) == (tmp_path / 'epoch_1.pth', [])
    other = tmp_path / 'other'
    other.mkdir()
    save_epochs(other, [1])  # the next file of this process does not remove it either
    assert (tmp_path / 'epoch_1.pth').exists()


def test_the_previous_best_goes_once_the_new_one_is_there(tmp_path: Path):
    hook = HOOKS.build(dict(type='WholeCheckpointHook', save_best='accuracy', rule='greater'))
    runner = runner_in(tmp_path)
    hook.before_train(runner)

    def best_after(epoch: int, accuracy: float) -> set[str]:
        runner.epoch = epoch
        hook.after_val_epoch(runner, dict(accuracy=accuracy))
        return names(tmp_path)

    first, second = ({f'best_accuracy_epoch_{epoch}.pth'} for epoch in (1, 2))
    assert best_after(1, 0.5) == first
    assert best_after(2, 0.4) == first
    assert best_after(2, 0.6) == second
    assert best_after(2, 0.7) == second  # the same name: it is not deleted
    runner.save_checkpoint = runner_in(tmp_path, fail=True).save_checkpoint
    with pytest.raises(OSError, match='No space left'):
        best_after(3, 0.9)
    assert names(tmp_path) == second


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    (tmp_path / 'epoch_7.pth.12-ab.part').write_bytes(b'half')
    (tmp_path / 'own.part').write_bytes(b'not ours')
    logger = save_epochs(tmp_path, [])
    assert names(tmp_path) == {'own.part'}
    assert any('epoch_7.pth.12-ab.part' in str(call) for call in logger.info.mock_calls)


def test_data_is_on_the_disk_before_it_gets_the_name(tmp_path: Path, monkeypatch):
    file = tmp_path / 'new' / 'epoch_2.pth'
    write_atomically(file, 'before')

    def full(descriptor: int) -> None:
        assert file.read_text() == 'before'
        full_disk(descriptor)

    monkeypatch.setattr(os, 'fsync', full)
    message = (
        r'epoch_2\.pth \(0\.002 MB\) could not be written: No space .* continue with --resume'
    )
    with pytest.raises(OSError, match=message) as told:
        write_atomically(file, b'x' * 2000)
    assert told.value.errno == errno.ENOSPC
    assert file.read_text() == 'before'
    assert names(file.parent) == {'epoch_2.pth'}


def test_a_config_in_it_is_not_run():
    """MMEngine's Runner.resume would run it."""
    checkpoint = dict(meta=dict(epoch=2, cfg='text', config="open('canary', 'w')"))
    HOOKS.build(dict(type='PlainCheckpointHook')).after_load_checkpoint(None, checkpoint)
    assert checkpoint['meta'] == dict(epoch=2, cfg='text')


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """Epochs 9, 10 and 11, copied so that the oldest has the newest time, and the best one."""
    for age, name in enumerate(('best_accuracy', 'epoch_9', 'epoch_10', 'epoch_11')):
        file = write_checkpoint(tmp_path / f'{name}.pth')
        os.utime(file, (1e9 - age, 1e9 - age))
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_11.pth'))
    return tmp_path


@pytest.mark.parametrize('folder', ['.', '/elsewhere/run'])
def test_the_pointer_is_followed_also_in_a_moved_folder(work_dir: Path, folder: str):
    (work_dir / 'last_checkpoint').write_text(f'{folder}/epoch_10.pth')
    assert latest_checkpoint(work_dir) == (work_dir / 'epoch_10.pth', [])


@pytest.mark.parametrize('text', ['', '/elsewhere/epoch_12.pth', '\0\0\0', 'x' * 5000, '/etc/pa'])
def test_with_a_useless_pointer_it_goes_by_epoch_not_by_time(work_dir: Path, text: str):
    (work_dir / 'last_checkpoint').write_text(text)
    path, skipped = latest_checkpoint(work_dir)
    assert path == work_dir / 'epoch_11.pth'
    assert len(skipped) == 1
    assert 'last_checkpoint names' in skipped[0]
    assert len(skipped[0]) < 500 + len(str(work_dir))


@pytest.mark.parametrize('damage', [truncate, flip_a_bit])
def test_broken_files_are_skipped_and_named(work_dir: Path, damage):
    damage(work_dir / 'epoch_11.pth')
    truncate(work_dir / 'epoch_10.pth', 0.0)
    path, skipped = latest_checkpoint(work_dir)
    assert path == work_dir / 'epoch_9.pth'
    assert ['epoch_11.pth' in skipped[0], 'epoch_10.pth' in skipped[1]] == [True, True]


def test_one_that_cannot_be_used_stops_the_run(work_dir: Path, monkeypatch: pytest.MonkeyPatch):
    """A new run would overwrite it."""
    write_checkpoint(work_dir / 'epoch_11.pth', optimizer=None)
    with pytest.raises(ValueError, match=r'epoch_11\.pth .* A new run needs another work dir'):
        latest_checkpoint(work_dir)

    def fail(*_, **__):
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(torch, 'load', fail)
    with pytest.raises(OSError, match=r'epoch_11\.pth cannot be read: Input/output error'):
        latest_checkpoint(work_dir)


def test_checkpoints_in_another_folder_are_found_by_the_pointer(work_dir: Path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp('run')  # CheckpointHook's out_dir is another folder
    (elsewhere / 'last_checkpoint').write_text(str(work_dir / 'epoch_11.pth'))
    assert latest_checkpoint(elsewhere) == (work_dir / 'epoch_11.pth', [])
    truncate(work_dir / 'epoch_11.pth')
    assert latest_checkpoint(elsewhere).path == work_dir / 'epoch_10.pth'
    assert latest_checkpoint(elsewhere / 'absent') == (None, [])
    truncate(write_checkpoint(elsewhere / 'epoch_1.pth'))
    (elsewhere / 'last_checkpoint').unlink()
    path, skipped = latest_checkpoint(elsewhere)
    assert path is None and 'epoch_1.pth' in skipped[0]

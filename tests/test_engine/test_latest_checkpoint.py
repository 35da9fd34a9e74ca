"""Resuming takes the newest whole checkpoint, and says what it left out."""

import errno
import os
from pathlib import Path

import pytest
import torch
from mini_checkpoints import flip_a_bit, truncate, write_checkpoint

from sotglp_mm.engine import latest_checkpoint


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """Epochs 9, 10 and 11, written in this order, and the best one, written last."""
    for age, name in enumerate(('best_accuracy', 'epoch_11', 'epoch_10', 'epoch_9')):
        file = write_checkpoint(tmp_path / f'{name}.pth')
        os.utime(file, (1e9 - age, 1e9 - age))
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_11.pth'))
    return tmp_path


def test_the_note_is_followed(work_dir: Path):
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_10.pth'))
    assert latest_checkpoint(work_dir) == (work_dir / 'epoch_10.pth', [])


def test_the_note_of_a_folder_that_was_moved(work_dir: Path):
    (work_dir / 'last_checkpoint').write_text('/elsewhere/run/epoch_10.pth')
    assert latest_checkpoint(work_dir) == (work_dir / 'epoch_10.pth', [])


@pytest.mark.parametrize(
    'note', ['', '/elsewhere/epoch_12.pth', '\0\0\0', 'x' * 5000, '/etc/passwd']
)
def test_a_useless_note(work_dir: Path, note: str):
    (work_dir / 'last_checkpoint').write_text(note)
    path, skipped = latest_checkpoint(work_dir)
    assert path == work_dir / 'epoch_11.pth'
    assert len(skipped) == 1
    assert 'last_checkpoint names' in skipped[0]
    assert len(skipped[0]) < 500 + len(str(work_dir))


@pytest.mark.parametrize('damage', [truncate, flip_a_bit])
def test_broken_files_are_skipped_and_named(work_dir: Path, damage):
    damage(work_dir / 'epoch_11.pth')
    os.utime(work_dir / 'epoch_11.pth', (1e9, 1e9))
    truncate(work_dir / 'epoch_10.pth', 0.0)
    os.utime(work_dir / 'epoch_10.pth', (1e9 - 1, 1e9 - 1))
    path, skipped = latest_checkpoint(work_dir)
    assert path == work_dir / 'epoch_9.pth'
    assert ['epoch_11.pth' in skipped[0], 'epoch_10.pth' in skipped[1]] == [True, True]


def test_a_whole_one_of_another_config_stops_the_run(work_dir: Path):
    """A run that began anew would write over it."""
    why = r'epoch_11\.pth cannot be resumed from: .* the config has 2: .* needs another work dir'
    with pytest.raises(ValueError, match=why):
        latest_checkpoint(work_dir, schedulers=2)


def test_one_that_the_system_does_not_give_stops_the_run(
    work_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_, **__):
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(torch, 'load', fail)
    with pytest.raises(OSError, match=r'epoch_11\.pth cannot be read: Input/output error'):
        latest_checkpoint(work_dir)


def test_checkpoints_kept_elsewhere_are_found_by_the_note(work_dir: Path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp('run')  # CheckpointHook's out_dir is another folder
    (elsewhere / 'last_checkpoint').write_text(str(work_dir / 'epoch_11.pth'))
    assert latest_checkpoint(elsewhere) == (work_dir / 'epoch_11.pth', [])
    truncate(work_dir / 'epoch_11.pth')
    assert latest_checkpoint(elsewhere).path == work_dir / 'epoch_10.pth'


def test_same_age_goes_by_number(work_dir: Path):
    (work_dir / 'last_checkpoint').unlink()
    for file in work_dir.glob('*.pth'):
        os.utime(file, (1e9, 1e9))
    assert latest_checkpoint(work_dir).path == work_dir / 'epoch_11.pth'


def test_no_whole_one(tmp_path: Path):
    assert latest_checkpoint(tmp_path / 'absent') == (None, [])
    truncate(write_checkpoint(tmp_path / 'epoch_1.pth'))
    path, skipped = latest_checkpoint(tmp_path)
    assert path is None
    assert 'epoch_1.pth cannot be read' in skipped[0]

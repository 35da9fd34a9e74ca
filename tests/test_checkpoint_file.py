"""A checkpoint is read whole, or the message says what is wrong with the file."""

from pathlib import Path

import pytest
import torch
from mini_checkpoints import flip_a_bit, truncate, write_checkpoint
from mmengine.runner import load_checkpoint

from sotglp_mm.io.checkpoint_file import (
    CheckpointMismatch,
    check_resumable,
    check_weights,
    naming_checkpoint,
    read_checkpoint,
    refusing_checkpoint,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / 'epoch_2.pth')


def test_a_whole_one_is_read(file: Path):
    assert read_checkpoint(file)['meta'] == dict(epoch=2, iter=6)
    check_weights(file)
    check_resumable(file)


@pytest.mark.parametrize('part', [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_one_is_named(file: Path, part: float):
    size = truncate(file, part).stat().st_size
    with pytest.raises(ValueError, match=rf'epoch_2\.pth cannot be read .* {size} bytes and is'):
        read_checkpoint(file)


def test_a_flipped_bit_is_found(file: Path):
    flip_a_bit(file)
    assert torch.load(file, weights_only=True)['meta']['epoch'] == 2  # torch does not mind
    with pytest.raises(ValueError, match=r'epoch_2\.pth .* the checksum of .* is wrong'):
        read_checkpoint(file)


def test_what_torch_did_not_write_is_named(file: Path):
    file.write_text('<html>404 Not Found</html>')
    with pytest.raises(ValueError, match=r'was not written by torch\.save; expected a checkpoint'):
        read_checkpoint(file)
    torch.save(torch.ones(3), file)
    with pytest.raises(ValueError, match=r"it holds a Tensor; expected a dict with 'state_dict'"):
        read_checkpoint(file)
    with pytest.raises(FileNotFoundError, match=r'absent\.pth does not exist'):
        read_checkpoint(file.with_name('absent.pth'))


def test_weights_alone_test_but_do_not_resume(tmp_path: Path):
    best = write_checkpoint(tmp_path / 'best.pth', optimizer=None)
    check_weights(best)
    with pytest.raises(ValueError, match=r"best\.pth cannot be resumed .* it has no 'optimizer'"):
        check_resumable(best)
    torch.save({'head.global_prompts': torch.ones(2)}, best)
    check_weights(best)
    with pytest.raises(ValueError, match=r"no 'state_dict'; found 'head\.global_prompts', exp"):
        check_resumable(best)
    write_checkpoint(best, meta=dict(epoch=2))
    with pytest.raises(ValueError, match=r"it has 'meta' without \['iter'\]"):
        check_resumable(best)


@pytest.mark.parametrize(
    ('changes', 'why'),
    [
        (dict(optimizer={}), r"'optimizer' without \['state', 'param_groups'\]"),
        (dict(optimizer=dict(state={}, param_groups=[])), r'optimizer\.param_groups = \[\]'),
        (dict(meta=dict(epoch='1', iter=3)), r"meta\.epoch = '1' instead of int"),
        (dict(message_hub={}), "'message_hub' without"),
        (
            dict(message_hub=dict(log_scalars={'a': 3}, runtime_info={}, resumed_keys={})),
            r'message_hub\.log_scalars\.a = 3, which is no history',
        ),
        (dict(random_states={}), r'random_states = \{\}'),
        (dict(random_states=dict(processes=[3], sampler_seed=1)), r'random_states = \{'),
        (dict(param_schedulers='none'), r"param_schedulers = 'none' instead of a list"),
    ],
)
def test_foreign_parts_are_refused_before_anything_is_loaded(file: Path, changes: dict, why: str):
    write_checkpoint(file, **changes)
    with pytest.raises(ValueError, match=rf'epoch_2\.pth cannot be resumed from: it has {why}'):
        check_resumable(file)


@pytest.mark.parametrize('found', [None, [], [dict(last_step=6)]])
def test_a_schedule_must_not_begin_anew(file: Path, found: list | None):
    """MMEngine resumes without a word, and the learning rate is that of the first epoch."""
    write_checkpoint(file, param_schedulers=found)
    check_resumable(file)
    check_resumable(file, schedulers=0)
    with pytest.raises(ValueError, match=r'and the config has 2: the learning rate would begin'):
        check_resumable(file, schedulers=2)


def test_what_fails_in_a_foreign_checkpoint_is_its_fault():
    with (
        pytest.raises(CheckpointMismatch, match=r'^The log .* \(KeyError: 3\): it is not a chec'),
        refusing_checkpoint('The log'),
    ):
        raise KeyError(3)
    with (
        pytest.raises(CheckpointMismatch, match=r'^no prompts$'),
        refusing_checkpoint('The log'),
    ):
        raise CheckpointMismatch('no prompts')


@pytest.mark.parametrize('content', [{}, dict(results=[1, 2]), dict(state_dict={'a': 'text'})])
def test_a_file_without_weights_is_named(file: Path, content: dict):
    torch.save(content, file)
    with pytest.raises(ValueError, match=r'epoch_2\.pth holds no weights; found '):
        check_weights(file)


def test_a_mismatch_names_the_file_and_other_errors_are_left_alone():
    with pytest.raises(ValueError, match=r'^some\.pth: no prompts'), naming_checkpoint('some.pth'):
        raise CheckpointMismatch('no prompts')
    with pytest.raises(RuntimeError, match=r'^out of memory'), naming_checkpoint('some.pth'):
        raise RuntimeError('out of memory')


def test_mmengine_reads_no_damaged_file_either(file: Path):
    """What any runner, head or inferencer of the process loads, ``load_from`` for one."""
    model = torch.nn.Module()
    model.head = torch.nn.Module()
    model.head.global_prompts = torch.nn.Parameter(torch.zeros(1000))
    load_checkpoint(model, str(file), map_location=lambda storage, place: storage)
    assert model.head.global_prompts[500] == 500
    with pytest.raises(ValueError, match=r'epoch_2\.pth .* the checksum of .* is wrong'):
        load_checkpoint(model, str(flip_a_bit(file)))
    with pytest.raises(FileNotFoundError, match=r'absent\.pth does not exist'):
        load_checkpoint(model, str(file.with_name('absent.pth')))

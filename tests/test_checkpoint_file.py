"""A checkpoint is read safely and completely, or the message says what is wrong with the file."""

import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_checkpoints import Payload, flip_a_bit, truncate, write_checkpoint
from mmengine.logging import HistoryBuffer

from sotglp_mm.io.checkpoint_file import (
    CheckpointMismatch,
    check_resumable,
    check_weights,
    is_torchscript,
    naming_checkpoint,
    read_checkpoint,
    refusing_checkpoint,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / 'epoch_2.pth')


def test_a_complete_one_is_read(file: Path):
    assert read_checkpoint(file)['meta'] == dict(epoch=2, iter=6)
    check_weights(file)
    check_resumable(file)


def test_a_truncated_one_is_named(file: Path):
    size = truncate(file).stat().st_size
    with pytest.raises(ValueError, match=rf'epoch_2\.pth cannot be read .* has {size} bytes'):
        read_checkpoint(file)


def test_a_flipped_bit_is_found(file: Path):
    flip_a_bit(file)
    assert torch.load(file, weights_only=True)['meta']['epoch'] == 2  # torch does not notice
    with pytest.raises(ValueError, match=r'epoch_2\.pth .* the checksum of .* is wrong'):
        read_checkpoint(file)


def test_other_files_are_named(file: Path):
    torch.save(torch.ones(3), file)
    with pytest.raises(ValueError, match=r"it holds a Tensor, not a dict with 'state_dict'"):
        read_checkpoint(file)
    with pytest.raises(FileNotFoundError, match=r'absent\.pth does not exist'):
        read_checkpoint(file.with_name('absent.pth'))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch's own, of torch.jit
        torch.jit.script(torch.nn.Linear(1, 1)).save(file)
    assert is_torchscript(file)
    with pytest.raises(ValueError, match=r'epoch_2\.pth .* it is a TorchScript archive'):
        read_checkpoint(file)


def test_a_compressed_one_is_refused_before_it_is_unpacked(tmp_path: Path):
    file = tmp_path / 'bomb.pth'
    torch.save({'state_dict': {'a': torch.zeros(10**6)}}, file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert file.stat().st_size < 10**4
    torch.load(file, weights_only=True)  # torch unpacks it
    with pytest.raises(ValueError, match=r"bomb\.pth .*'bomb/data\.pkl' in it unpacks to .* MB"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ('changes', 'why'),
    [
        (dict(optimizer=None), "no 'optimizer'"),
        (dict(state_dict=None), "no 'state_dict'"),
        (dict(optimizer={}), r'no optimizer\.state of type dict'),
        (dict(meta=dict(epoch='1', iter=3)), r'no meta\.epoch of type int'),
        (dict(message_hub={}), r'no message_hub\.log_scalars'),
    ],
)
def test_what_cannot_be_resumed_from_is_named(file: Path, changes: dict, why: str):
    write_checkpoint(file, **changes)
    with pytest.raises(ValueError, match=rf'epoch_2\.pth cannot be resumed from: it has {why}'):
        check_resumable(file)


@pytest.mark.parametrize('content', [{}, dict(results=[1, 2]), dict(state_dict={'a': 'text'})])
def test_a_file_without_weights_is_named(file: Path, content: dict):
    torch.save(content, file)
    with pytest.raises(ValueError, match=r'epoch_2\.pth holds no weights; found '):
        check_weights(file)


def test_errors_say_which_file_and_which_part():
    with pytest.raises(ValueError, match=r'^some\.pth: no prompts'), naming_checkpoint('some.pth'):
        raise CheckpointMismatch('no prompts')
    with pytest.raises(RuntimeError, match=r'^out of memory'), naming_checkpoint('some.pth'):
        raise RuntimeError('out of memory')
    message = r'^The log .* \(KeyError: 3\): it is not a checkpoint of this config'
    with pytest.raises(CheckpointMismatch, match=message), refusing_checkpoint('The log'):
        raise KeyError(3)


def test_code_in_a_file_is_refused_by_name_and_without_unsafe_advice(tmp_path: Path):
    canary, file = tmp_path / 'canary', tmp_path / 'bad.pth'
    torch.save({'state_dict': Payload(canary)}, file)
    with pytest.raises(
        ValueError, match=r'it holds a pathlib\.\S+, whose code is not run'
    ) as told:
        read_checkpoint(file)
    assert not re.search('weights_only|safe_globals|trust', str(told.value))
    assert not canary.exists()


class Sly:
    """Pickled as the attribute of something else."""

    def __init__(self, owner, name: str):
        self.asked = owner, name

    def __reduce__(self):
        return getattr, self.asked


@pytest.mark.parametrize(('owner', 'name'), [(HistoryBuffer, '__init__'), (torch.Size, 'mean')])
def test_the_log_history_gives_access_to_nothing_else(tmp_path: Path, owner, name: str):
    torch.save(dict(meta=Sly(owner, name)), tmp_path / 'sly.pth')
    with pytest.raises(ValueError, match=rf'sly\.pth (?s:.)*getattr of .* and {name!r}'):
        read_checkpoint(tmp_path / 'sly.pth')


@pytest.mark.parametrize('core', ['core', '_core'])
def test_the_log_of_other_toolboxes_is_read(tmp_path: Path, core: str):
    """NumPy 2 says numpy._core where NumPy 1 said numpy.core."""
    file = tmp_path / 'epoch_3.pth'
    arrays = [np.ones(2, code) for code in ('f8', 'f4', 'f2', 'i8', 'i4', 'u1', '?', 'U3')]
    content = dict(arrays=arrays, best=np.float32(0.75), history=HistoryBuffer([0.5], [1]))
    torch.save(content, file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, 'w') as archive:
        for name, data in members.items():
            archive.writestr(name, re.sub(rb'cnumpy\._?core', f'cnumpy.{core}'.encode(), data))
    found = read_checkpoint(file)
    assert [array.tolist() for array in found['arrays']] == [array.tolist() for array in arrays]
    assert [array.dtype for array in found['arrays']] == [array.dtype for array in arrays]
    assert (found['history'].mean(), found['best']) == (0.5, 0.75)

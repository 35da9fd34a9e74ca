"""torch's safe loading is always on, and reads what MMEngine puts into a checkpoint."""

import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_checkpoints import Payload
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint

from sotglp_mm.clip.weights import read_clip_weights
from sotglp_mm.io.checkpoint_file import read_checkpoint
from sotglp_mm.io.safe_loading import SAFE, TRUST, allow_log_history


@pytest.fixture
def allowed():
    """Other tests of this process may have left the list empty."""
    allow_log_history()


class Sly:
    """Pickled as the attribute of something else."""

    def __init__(self, owner, name: str):
        self.asked = owner, name

    def __reduce__(self):
        return getattr, self.asked


@pytest.mark.parametrize(('owner', 'name'), [(HistoryBuffer, '__init__'), (torch.Size, 'mean')])
def test_what_the_history_needs_opens_no_door_for_other_attributes(
    allowed, tmp_path: Path, owner, name: str
):
    torch.save(dict(meta=Sly(owner, name)), tmp_path / 'sly.pth')
    with pytest.raises(pickle.UnpicklingError, match=rf'getattr of .* and {name!r}'):
        torch.load(tmp_path / 'sly.pth', weights_only=True)
    with pytest.raises(
        ValueError, match=rf'sly\.pth cannot be read (?s:.)*getattr of .* and {name!r}'
    ):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'sly.pth'), map_location='cpu')


def test_what_another_loader_took_from_the_allow_list_is_given_back(tmp_path: Path):
    file = tmp_path / 'epoch_3.pth'
    torch.save(dict(history=HistoryBuffer([0.5], [1]), best=np.float64(0.75)), file)
    torch.serialization.clear_safe_globals()
    with pytest.raises(pickle.UnpicklingError, match='HistoryBuffer'):
        torch.load(file, weights_only=True)
    found = read_checkpoint(file)
    assert (found['history'].mean(), found['best']) == (0.5, 0.75)


@pytest.mark.parametrize('core', ['core', '_core'])
def test_files_of_either_numpy_are_read(tmp_path: Path, core: str):
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


class Writer(torch.nn.Module):
    """A scripted module that writes a file when it is loaded."""

    def __init__(self, file: str):
        super().__init__()
        self.file = file

    @torch.jit.export
    def __getstate__(self):
        return (torch.ones(1), self.file, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]):
        torch.save(state[0], state[1])
        self.file = state[1]
        self.training = state[2]

    def forward(self):
        return self.file


@pytest.mark.filterwarnings('ignore:`torch.jit')
def test_torchscript_runs_neither(tmp_path: Path):
    """torch.jit.load runs code of an archive; an unsafe torch.load hands one on to it."""
    canary, file = tmp_path / 'canary', tmp_path / 'scripted.pt'
    torch.jit.script(Writer(str(canary))).save(file)
    torch.jit.load(file)
    assert canary.exists()  # so there is something to be afraid of
    canary.unlink()
    for read in (read_checkpoint, lambda file: load_checkpoint(torch.nn.Linear(1, 1), str(file))):
        with pytest.raises(
            ValueError, match=r'scripted\.pt cannot be read .* TorchScript archive'
        ):
            read(file)
    with pytest.raises(ValueError, match=r'scripted\.pt .* has a state of its own making'):
        read_clip_weights(file)
    assert not canary.exists()


def test_code_runs_neither_in_mmengine_nor_in_torch(tmp_path: Path):
    """Nor in onedl-mmengine, which asks torch for no safety where a safe load failed."""
    canary, file = tmp_path / 'canary', tmp_path / 'bad.pth'
    torch.save({'state_dict': Payload(canary)}, file)
    with pytest.raises(ValueError, match=r'bad\.pth cannot be read .*pathlib'):
        load_checkpoint(torch.nn.Linear(1, 1), str(file))
    for asked in ({}, dict(weights_only=False)):
        with pytest.raises(pickle.UnpicklingError, match=r'[Ww]eights.only'):
            torch.load(file, **asked)
    assert not canary.exists()


def test_a_file_that_is_trusted_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    canary, file = tmp_path / 'canary', tmp_path / 'theirs.pth'
    torch.save({'meta': Payload(canary)}, file)
    monkeypatch.setenv(SAFE, '1')  # as importing the package does
    monkeypatch.setenv(TRUST, '0')
    with pytest.raises(ValueError, match=rf'theirs\.pth cannot be read (?s:.)* set {TRUST}=1'):
        read_checkpoint(file)
    monkeypatch.setenv(TRUST, '1')
    assert set(read_checkpoint(file)) == {'meta'}
    assert SAFE not in os.environ  # torch refuses to have both
    assert canary.exists()

"""torch's safe loading is always on, and reads what MMEngine puts into a checkpoint."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz_targets import Payload
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint

from sotglp_mm.checkpoint_file import read_checkpoint
from sotglp_mm.safe_loading import TRUST, allow_log_history, load_weights_only


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


def test_code_runs_neither_in_mmengine_nor_in_torch(tmp_path: Path):
    """Nor in torch before 2.6, which asks for no safety, nor in onedl-mmengine."""
    canary, file = tmp_path / 'canary', tmp_path / 'bad.pth'
    torch.save({'state_dict': Payload(canary)}, file)
    with pytest.raises(ValueError, match=r'bad\.pth cannot be read .*[Ww]eights.only'):
        load_checkpoint(torch.nn.Linear(1, 1), str(file))
    for asked in ({}, dict(weights_only=False)):
        with pytest.raises(pickle.UnpicklingError, match=r'[Ww]eights.only'):
            torch.load(file, **asked)
    assert not canary.exists()


def test_a_file_that_is_trusted_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    canary, file = tmp_path / 'canary', tmp_path / 'theirs.pth'
    torch.save({'meta': Payload(canary)}, file)
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD')
    monkeypatch.setenv(TRUST, '0')
    with pytest.raises(ValueError, match=rf'theirs\.pth cannot be read (?s:.)* set {TRUST}=1'):
        read_checkpoint(file)
    monkeypatch.setenv(TRUST, '1')
    load_weights_only()
    assert 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ  # torch refuses to have both
    assert set(read_checkpoint(file)) == {'meta'}
    assert canary.exists()

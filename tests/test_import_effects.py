"""Importing the package registers parts, and changes nothing else in the process."""

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import os, pickle, random, sys, warnings
from fractions import Fraction
import numpy as np, torch
import mmengine.runner, mmpretrain.models, mmpretrain.datasets, open_clip
from mmengine.runner import CheckpointLoader
from mmengine.logging import HistoryBuffer

def state():
    return dict(
        environment=dict(os.environ),
        filters=list(warnings.filters),
        globals=list(torch.serialization.get_safe_globals()),
        loaders=dict(CheckpointLoader._schemes),
        python=random.getstate(),
        numpy=str(np.random.get_state()),
        torch=torch.get_rng_state().tolist(),
        threads=torch.get_num_threads(),
    )

before = state()
import sotglp_mm, sotglp_mm.apis
after = state()
changed = [name for name in before if before[name] != after[name]]

torch.save(dict(state_dict=dict(a=torch.ones(1000)), log=HistoryBuffer([0.5], [1])), 'log.pth')
torch.save(dict(state_dict=dict(a=torch.arange(1000.0))), 'damaged.pth')
data = bytearray(open('damaged.pth', 'rb').read())
data[data.index(torch.tensor([500.0, 501.0]).numpy().tobytes()) + 2] ^= 1
open('damaged.pth', 'wb').write(data)
torch.save(Fraction(1, 2), 'code.pth')

def loaded():
    for load in (
        lambda: torch.load('log.pth', weights_only=False),
        lambda: CheckpointLoader.load_checkpoint('damaged.pth', logger='silent'),
        lambda: torch.load('code.pth', weights_only=False),
    ):
        try:
            load()
            yield 'read'
        except (ValueError, pickle.UnpicklingError):
            yield 'refused'

plain = list(loaded())
sotglp_mm.apis.strict_loading()
print(changed, *plain, *loaded())
"""


def test_importing_changes_nothing_and_strict_loading_is_switched_on_by_name(tmp_path: Path):
    """Another library's ``torch.load`` and MMEngine's own loader behave as before without it."""
    # other tests switch it on in this process
    environment = {k: v for k, v in os.environ.items() if k != 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'}
    done = subprocess.run(
        [sys.executable, '-c', CODE],
        **dict(capture_output=True, text=True, cwd=tmp_path, env=environment),
    )
    assert done.returncode == 0, done.stderr
    # a fork of MMEngine prints before
    assert done.stdout.splitlines()[-1] == '[] read read read read refused refused'

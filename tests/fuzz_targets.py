"""All readers that are fuzzed, and files that run code in a careless one."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_data_targets import DATA_TARGETS
from fuzz_model_targets import MODEL_TARGETS, state

TARGETS = {**DATA_TARGETS, **MODEL_TARGETS}


class Payload:
    """Writes a file when it is unpickled by a reader that executes code."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple:
        return Path.touch, (self.canary,)


def code_in_pickles(folder: Path, canary: Path) -> dict[str, Callable[[], Any]]:
    """Readers, and files that execute code if they are read without care."""
    for name in ('checkpoint', 'weights', 'features'):
        TARGETS[name].prepare(folder / name)
    torch.save(dict(state_dict={}, meta=Payload(canary)), folder / 'checkpoint' / 'epoch_2.pth')
    (folder / 'checkpoint' / 'epoch_1.pth').write_bytes(pickle.dumps(Payload(canary)))
    torch.save(dict(state(), more=Payload(canary)), folder / 'weights' / 'clip.pt')
    array = np.array([Payload(canary)] * 12, dtype=object).reshape(2, 6)
    np.save(folder / 'features' / 'train' / 'done.npy', array, allow_pickle=True)
    return {
        name: lambda name=name: TARGETS[name].read(folder / name)
        for name in ('checkpoint', 'weights', 'features')
    }


def digest(data: bytes) -> str:
    """A short name for a content."""
    return hashlib.sha256(data).hexdigest()[:12]

"""The states of a process's random generators, as plain values that a checkpoint can keep."""

import random
from typing import Any

import numpy as np
import torch


def random_states() -> dict:
    """States of Python's, NumPy's and torch's generators, CPU and current GPU if there is one.

    Returns:
        Tensors and numbers only: ``torch.load(..., weights_only=True)`` reads them.
    """
    version, words, gauss = random.getstate()
    numpy: Any = np.random.get_state()
    name, key, position, has_gauss, cached = numpy
    states = dict(
        python=dict(version=version, words=torch.tensor(words), gauss=gauss),
        numpy=dict(
            name=name,
            key=torch.from_numpy(key.astype(np.int64)),
            position=int(position),
            has_gauss=int(has_gauss),
            cached=float(cached),
        ),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available():
        states['cuda'] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict) -> None:
    """Put the generators back; a GPU's only if there is one.

    Args:
        states: Of :func:`random_states`; its tensors may have been loaded to any device.
    """
    python, numpy = states['python'], states['numpy']
    random.setstate((python['version'], tuple(python['words'].tolist()), python['gauss']))
    key = numpy['key'].cpu().numpy().astype(np.uint32)
    np.random.set_state(
        (numpy['name'], key, numpy['position'], numpy['has_gauss'], numpy['cached'])
    )
    torch.set_rng_state(states['torch'].cpu())
    if 'cuda' in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'].cpu())

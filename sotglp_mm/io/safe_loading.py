"""torch's safe loading: always on, and allowed what MMEngine puts into a checkpoint."""

import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

TRUST = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
"""torch's environment variable for files that may run code."""

SAFE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
"""torch's environment variable for files that may not."""


def trusts_files() -> bool:
    """Has the user said, by torch's variable, that files may run code?"""
    return os.environ.get(TRUST, '').lower() in ('1', 'y', 'yes', 'true')


def load_weights_only() -> None:
    """Let no ``torch.load`` run code of a checkpoint, whoever calls it.

    MMEngine's fork, onedl-mmengine, asks for that where a safe load has failed. A user's word that
    files are trusted stands, also where it is given later than this: torch refuses to have both
    variables.
    """
    if trusts_files():
        os.environ.pop(SAFE, None)
    else:
        os.environ.setdefault(SAFE, '1')


def _statistic(owner: type, name: str) -> Any:
    """``getattr`` as a log history needs it: its pickle asks for ``HistoryBuffer.mean`` etc."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise pickle.UnpicklingError(f'getattr of {owner!r} and {name!r} is not allowed')
    return getattr(owner, name)


# torch looks allowed globals up by these names; the real getattr reaches far too much
_statistic.__module__, _statistic.__name__, _statistic.__qualname__ = (
    'builtins',
    'getattr',
    'getattr',
)


def _renamed(function: Callable, module: str) -> Callable:
    """One of numpy's, by the name that it has in a file; NumPy 2 renamed where it lives."""

    def rebuild(*arguments: Any) -> Any:
        return function(*arguments)

    name = function.__name__
    rebuild.__module__, rebuild.__name__, rebuild.__qualname__ = module, name, name
    return rebuild


_rebuild: list[Any] = [np.ones(1).__reduce__()[0], np.float64(1).__reduce__()[0]]
"""numpy's own, for arrays and for numbers."""

_allowed = [
    HistoryBuffer,
    _statistic,
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in '?bBhHiIlLqQefdU'},
    *(
        _renamed(function, f'numpy.{core}.multiarray')
        for core in ('core', '_core')
        for function in _rebuild
    ),
]


def allow_log_history() -> None:
    """Let torch's safe loading read what MMEngine puts into a checkpoint.

    ``PlainCheckpointHook`` writes it plainly; files of other toolboxes' runs, and older ones, have
    it. Allowing these few keeps safe loading on for everything else.
    """
    torch.serialization.add_safe_globals(_allowed)


allow_log_history()

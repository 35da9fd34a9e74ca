"""What our commands switch on for their whole process."""

import os

import torch
from mmengine.runner import CheckpointLoader

from ..io.checkpoint_file import LOG_HISTORY, MapLocation, read_checkpoint


def strict_loading() -> None:
    """Let everything in this process load checkpoints safely and completely.

    MMEngine reads every local file by :func:`read_checkpoint`, which refuses damaged ones; no
    ``torch.load``, whoever calls it, runs code of a file; and the log that MMEngine puts into a
    checkpoint can be read from an address (``https://...``) too.
    """
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)  # torch refuses to have both
    torch.serialization.add_safe_globals(LOG_HISTORY)
    CheckpointLoader.register_scheme('', load_from_local, force=True)


def load_from_local(filename: str, map_location: MapLocation = None) -> dict:
    """MMEngine's reader of local files; it logs a part of this name."""
    return read_checkpoint(filename, map_location)

"""Files that look like checkpoints, broken ones, and one that runs code."""

from pathlib import Path

import torch


def write_checkpoint(path: Path, **changes) -> Path:
    """A file with all that a run resumes from; a part set to None is left out."""
    content = dict(
        meta=dict(epoch=2, iter=6),
        state_dict={'head.global_prompts': torch.arange(1000.0)},
        optimizer=dict(state={}, param_groups=[dict(params=[0])]),
        message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
        param_schedulers=[dict(last_step=6)],
    )
    content.update(changes)
    torch.save({name: part for name, part in content.items() if part is not None}, path)
    return path


def truncate(path: Path, part: float = 0.5) -> Path:
    """Cut a file as a killed process, or a full disk, leaves it."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


def flip_a_bit(path: Path) -> Path:
    """Damage one number inside a checkpoint of ``write_checkpoint``."""
    data = bytearray(path.read_bytes())
    place = data.index(
        torch.tensor(500.0).numpy().tobytes() + torch.tensor(501.0).numpy().tobytes()
    )
    data[place + 2] ^= 1
    path.write_bytes(bytes(data))
    return path


class Payload:
    """Writes a file when it is unpickled by a reader that executes code."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple:
        return Path.touch, (self.canary,)

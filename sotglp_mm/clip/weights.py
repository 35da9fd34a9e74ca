"""Reading CLIP checkpoints: OpenAI's archive, a state dict, safetensors.

Nothing in a file is executed: state dicts are read with ``weights_only=True``, and of a
TorchScript archive only the tensors.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..io.checkpoint_file import damaged_member, is_torchscript
from ..io.json_file import read_json
from .torchscript import read_torchscript_weights

OPENAI_EXTRAS = ('input_resolution', 'context_length', 'vocab_size')
"""Entries that OpenAI's archives keep beside the weights; no other CLIP has them."""


class CLIPWeights(NamedTuple):
    """What a checkpoint file says."""

    state_dict: dict[str, Tensor]
    quick_gelu: bool | None  # that these weights were trained with; None: it does not say
    source: str  # of the activation: how it is known


def read_clip_weights(path: str | Path) -> CLIPWeights:
    """Read ``.safetensors``, OpenAI's TorchScript archive, or a state dict of ``torch.save``.

    That may be under the key ``'state_dict'``, and have ``module.`` prefixes. ``ValueError``: it
    is damaged, or holds something else.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'CLIP checkpoint not found: {path}')
    try:
        if damaged := damaged_member(path):
            raise RuntimeError(f'the checksum of {damaged!r} in it is wrong')
        state, torchscript = _read(path), is_torchscript(path)
    except Exception as error:  # torch, zipfile, pickle and safetensors raise their own kinds
        raise ValueError(
            f'{path} cannot be read as a CLIP checkpoint ({type(error).__name__}: '
            f'{str(error).splitlines()[0] if str(error) else "no details"}); expected a '
            "state dict (.pt, .pth, .safetensors) or OpenAI's own .pt archive"
        ) from error
    state = {key.removeprefix('module.'): value for key, value in state.items()}
    from_openai = torchscript or any(key in state for key in OPENAI_EXTRAS)
    state = {key: value for key, value in state.items() if key not in OPENAI_EXTRAS}
    if from_openai:
        return CLIPWeights(state, True, "the file is OpenAI's")
    return CLIPWeights(state, *_activation_beside(path))


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == '.safetensors':
        return load_file(path)
    if is_torchscript(path):
        return read_torchscript_weights(path)
    loaded = torch.load(path, map_location='cpu', weights_only=True)
    state = loaded.get('state_dict', loaded) if isinstance(loaded, dict) else loaded
    named = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not named or not all(isinstance(value, Tensor) for value in state.values()):
        raise RuntimeError(f'it holds a {type(state).__name__}, not a dict of named tensors')
    return state


def _activation_beside(path: Path) -> tuple[bool | None, str]:
    """open_clip's own model folders keep the model config beside the weights."""
    config = path.with_name('open_clip_config.json')
    if not config.is_file():
        return None, ''
    content = read_json(config)
    model = content.get('model_cfg') if isinstance(content, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get('quick_gelu', False), bool):
        raise ValueError(
            f"{config} is not open_clip's: expected a 'model_cfg' with quick_gelu true or false; "
            'mend it, or take it away and set quick_gelu in clip=dict(...)'
        )
    return model.get('quick_gelu', False), f'{config} says so'

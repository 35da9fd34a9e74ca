"""Reading CLIP checkpoints: OpenAI's archive, a state dict, safetensors.

Nothing in a file is executed. State dicts are read with ``weights_only=True``. ``torch.jit.load``
runs what a module of a TorchScript archive, which OpenAI's files are, defines as
``__setstate__``, so that a file could write others: here the archive is only read. Its pickle
builds tensors and bare objects, and its code is looked at for names of parameters and buffers.
"""

import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..io.checkpoint_file import damaged_member, is_torchscript
from ..io.json_file import read_json

OPENAI_EXTRAS = ('input_resolution', 'context_length', 'vocab_size')
"""Entries that OpenAI's archives keep beside the weights; no other CLIP has them."""

DTYPES = {
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'DoubleStorage': torch.float64,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'BoolStorage': torch.bool,
}
"""Of what a CLIP's weights and numbers may be."""

CLASS = re.compile(
    r'^class (\w+)\(Module\):\n +__parameters__ = \[(.*)\]\n(?: +__buffers__ = \[(.*)\]\n)?',
    re.MULTILINE,
)


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


def read_torchscript_weights(path: str | Path) -> dict[str, Tensor]:
    """What ``torch.jit.load(path).state_dict()`` holds; nothing in the file is run."""
    with zipfile.ZipFile(path) as archive:
        top = next(name for name in archive.namelist() if name.endswith('/data.pkl'))
        top = top.removesuffix('data.pkl')
        with archive.open(f'{top}data.pkl') as file:
            module = _Unpickler(file, archive, top).load()
        names = _tensor_names(archive, f'{top}code/')
    if not isinstance(module, _Module):
        raise ValueError(f'its main object is a {type(module).__name__} instead of a module')
    return dict(_tensors(module, names, ''))


class _Module:
    """Stands for an object of a class of the archive."""

    kind: str
    attributes: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f'{self.kind} has a state of its own making')
        self.attributes = state


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, archive: zipfile.ZipFile, top: str) -> None:
        super().__init__(file)
        self._archive, self._top = archive, top

    def find_class(self, module: str, name: str) -> Any:
        if module == '__torch__' or module.startswith('__torch__.'):
            return type('_Module', (_Module,), dict(kind=f'{module}.{name}'))
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return lambda flat, offset, size, stride, *_: flat.as_strided(size, stride, offset)
        if (module, name) == ('collections', 'OrderedDict'):
            return dict  # of hooks, which there are none of
        if module == 'torch' and name in DTYPES:
            return DTYPES[name]
        if module == 'torch.jit._pickle' and name.startswith('build_'):
            return list  # of numbers or tensors; no weights
        raise pickle.UnpicklingError(f'{module}.{name} is not allowed in it')

    def persistent_load(self, saved: tuple) -> Tensor:
        _, dtype, key, _, count = saved
        if not count:
            return torch.empty(0, dtype=dtype)
        content = bytearray(self._archive.read(f'{self._top}data/{key}'))
        return torch.frombuffer(content, dtype=dtype, count=count)


def _tensor_names(archive: zipfile.ZipFile, folder: str) -> dict[str, set[str]]:
    """Of each class of the archive, its parameters and buffers; it may have other tensors."""
    found = {}
    for name in archive.namelist():
        if name.startswith(folder) and name.endswith('.py'):
            module = name.removeprefix(folder).removesuffix('.py').replace('/', '.')
            for match in CLASS.finditer(archive.read(name).decode()):
                listed = f'{match[2]}{match[3] or ""}'
                found[f'{module}.{match[1]}'] = set(re.findall(r'"([^"]+)"', listed))
    return found


def _tensors(
    module: _Module, names: dict[str, set[str]], prefix: str
) -> Iterator[tuple[str, Tensor]]:
    for name, value in module.attributes.items():
        if isinstance(value, _Module):
            yield from _tensors(value, names, f'{prefix}{name}.')
        elif isinstance(value, Tensor) and name in names.get(module.kind, ()):
            yield f'{prefix}{name}', value

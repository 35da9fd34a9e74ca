"""The weights of a TorchScript archive, which is what OpenAI's CLIP files are.

``torch.jit.load`` runs what a module defines as ``__setstate__``, so that a file could write
others. Here the archive is only read: its pickle builds tensors and bare objects, and its code
is looked at for the names of parameters and buffers.
"""

import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
            return _strided
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


def _strided(flat: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    return flat.as_strided(size, stride, offset)


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

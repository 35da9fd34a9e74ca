"""Reading an archive of torch.jit.save gives what torch.jit.load would, and runs nothing."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from sotglp_mm.clip.weights import read_torchscript_weights

pytestmark = pytest.mark.filterwarnings('ignore:`torch.jit')


class Inner(nn.Module):
    """Parameters, a buffer, and a tensor and numbers that are neither."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.halved = nn.Linear(4, 4).half()
        self.register_buffer('counts', torch.arange(4))
        self.register_buffer('absent', None)
        self.plain = torch.ones(4)
        self.numbers = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.plain + self.counts


class Outer(nn.Module):
    """Modules in modules, a transposed parameter, a number, and a part that two modules share."""

    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.layers = nn.ModuleList([nn.Conv2d(1, 2, 2), nn.LayerNorm(4)])
        self.weight = nn.Parameter(torch.randn(4, 5).t())
        self.scale = nn.Parameter(torch.tensor(3.5))
        self.tied = self.inner.linear.weight
        self.none = nn.Parameter(torch.zeros(0, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) @ self.weight[:4] * self.scale


@pytest.mark.parametrize(
    'make', [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(2, 3))]
)
def test_weights_are_those_that_torch_finds(tmp_path: Path, make):
    file = tmp_path / 'outer.pt'
    make(Outer()).save(file)
    expected = torch.jit.load(file).state_dict()
    found = read_torchscript_weights(file)
    assert set(found) == set(expected)
    assert {'inner.counts', 'layers.1.weight', 'tied', 'none'} < set(found)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor.detach(), rtol=0, atol=0)


class Strange(nn.Module):
    """Keeps what no weights are made of."""

    def __init__(self):
        super().__init__()
        self.place = torch.device('cpu')

    def forward(self) -> torch.device:
        return self.place


def test_other_objects_are_refused(tmp_path: Path):
    torch.jit.script(Strange()).save(tmp_path / 'strange.pt')
    with pytest.raises(pickle.UnpicklingError, match=r'torch\.device is not allowed in it'):
        read_torchscript_weights(tmp_path / 'strange.pt')

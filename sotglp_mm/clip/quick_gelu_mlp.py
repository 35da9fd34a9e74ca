"""The MLP of OpenAI's CLIP with one hidden tensor instead of three."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class QuickGELUMLP(nn.Sequential):
    """The MLP of a block whose activation is ``x * sigmoid(1.702 x)``, as in OpenAI's CLIP.

    ``silu(1.702 x) / 1.702`` is the same, and both factors go into the matrix products: of the
    hidden layer, which most of a text tower's memory and half of its elementwise work go to, one
    tensor is made and kept instead of three.
    """

    c_fc: nn.Linear
    c_proj: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        fc, proj, slope = self.c_fc, self.c_proj, 1.702
        hidden = torch.addmm(fc.bias, x.flatten(0, -2), fc.weight.T, beta=slope, alpha=slope)
        hidden = F.silu(hidden, inplace=not hidden.requires_grad)
        out = torch.addmm(proj.bias, hidden, proj.weight.T, alpha=1 / slope)
        return out.view(*x.shape[:-1], -1)

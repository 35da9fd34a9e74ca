"""Text features of evaluation, encoded once for as long as the prompts stay the same."""

from collections.abc import Callable

import torch
from torch import Tensor


class TextFeatureCache:
    """Keeps what an encoder made of prompts, and a copy of the prompts to compare with.

    Comparing values costs far less than encoding, and notices every change: an optimiser's step, a
    loaded checkpoint, the swap of an EMA hook (which no version counter sees).
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._kept: tuple[tuple, Tensor, Tensor] | None = None

    # what is kept may be used beside a gradient later, so it must be no inference tensor
    @torch.inference_mode(False)
    @torch.no_grad()
    def get(self, encode: Callable[[Tensor], Tensor], prompts: Tensor) -> Tensor:
        """Features of ``prompts``, encoded if anything changed; without a gradient."""
        device = prompts.device.type
        autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        state = prompts.device, prompts.dtype, autocast
        if self._kept is None or self._kept[0] != state or not torch.equal(self._kept[1], prompts):
            self._kept = state, prompts.detach().clone(), encode(prompts)
        return self._kept[2]

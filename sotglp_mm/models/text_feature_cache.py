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
        """Forget."""
        self._made_from: Tensor | None = None
        self._autocast: tuple = ()
        self._features: Tensor | None = None

    # what is kept may be used beside a gradient later, so it must be no inference tensor
    @torch.inference_mode(False)
    @torch.no_grad()
    def get(self, encode: Callable[[Tensor], Tensor], prompts: Tensor) -> Tensor:
        """Features of ``prompts``, encoded if anything changed; without a gradient."""
        autocast = _autocast_state(prompts.device.type)
        stale = autocast != self._autocast or not _equal(self._made_from, prompts)
        if self._features is None or stale:
            self._features = encode(prompts)
            self._made_from = prompts.detach().clone()
            self._autocast = autocast
        return self._features


def _autocast_state(device: str) -> tuple:
    return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)


def _equal(old: Tensor | None, new: Tensor) -> bool:
    if old is None or (old.device, old.dtype) != (new.device, new.dtype):
        return False
    return torch.equal(old, new)

"""Text features of evaluation, encoded once for as long as the prompts stay the same."""

from collections.abc import Callable

import torch
from torch import Tensor


class TextFeatureCache:
    """Keeps what an encoder made of some prompts, and a copy of the prompts to compare with.

    Comparing values costs far less than encoding, and notices every change: an optimiser's step, a
    loaded checkpoint, the swap of an EMA hook (which no version counter sees).
    """

    def __init__(self):
        self.clear()

    def clear(self) -> None:
        """Forget."""
        self._made_from: list[Tensor | None] = []
        self._autocast: tuple = ()
        self._features: list[Tensor | None] = []

    def get(
        self, encode: Callable[[Tensor], Tensor], *prompts: Tensor | None
    ) -> list[Tensor | None]:
        """Features of each of ``prompts``, None for None, encoded if anything changed."""
        autocast = _autocast_state(prompts)
        if autocast != self._autocast or not _all_equal(self._made_from, prompts):
            self._features = [None if p is None else encode(p).detach() for p in prompts]
            self._made_from = [None if p is None else p.detach().clone() for p in prompts]
            self._autocast = autocast
        return self._features


def _autocast_state(prompts: tuple[Tensor | None, ...]) -> tuple:
    device = next(p.device.type for p in prompts if p is not None)
    return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)


def _all_equal(old: list[Tensor | None], new: tuple[Tensor | None, ...]) -> bool:
    return len(old) == len(new) and all(
        a is b if a is None or b is None else a.device == b.device and torch.equal(a, b)
        for a, b in zip(old, new)
    )

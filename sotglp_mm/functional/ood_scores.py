"""Scores of being out of distribution: lower means more like the known classes.

Cosines go in as they are, without CLIP's logit scale; the temperature ``tau`` decides how sharply
classes compete, and belongs beside every number that is reported.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .exporting import is_exporting

MAX_NUMBERS = 2**25
"""Numbers of (B, P, C) that exist at once (256 MB in float64), unless one image has more."""

_COPIES = 4
"""A chunk exists so often at its peak: cosines, copied, divided by tau, softmax."""


def mcm(global_similarity: Tensor, tau: float = 1.0) -> Tensor:
    """Maximum concept matching on the image embedding [Ming22]_.

    .. [Ming22] Y. Ming et al., "Delving into out-of-distribution detection with vision-language
       representations", NeurIPS 2022.

    Args:
        global_similarity: (B, C, G), cosines of images and global prompts.
        tau: Temperature, > 0.

    Returns:
        Tensor: (B,), in [-1, 0).
    """
    return -_softmax(global_similarity.mean(dim=-1), tau).amax(dim=-1)


def local_mcm(local_similarity: Tensor, tau: float = 1.0) -> Tensor:
    """The same on patches: the most decided of all patches speaks for the image.

    Args:
        local_similarity: (B, P, C, N), cosines of all patches, not only selected ones.
        tau: Temperature, > 0.
    """
    return -_softmax(local_similarity.mean(dim=-1), tau).flatten(1).amax(dim=-1)


def gl_mcm(global_similarity: Tensor, local_similarity: Tensor, tau: float = 1.0) -> Tensor:
    """Global and local maximum concept matching [Miyai23]_, added.

    .. [Miyai23] A. Miyai et al., "GL-MCM: Global and local maximum concept matching for zero-shot
       out-of-distribution detection", IJCV 2025.

    Returns:
        Tensor: (B,), in [-2, 0).
    """
    return mcm(global_similarity, tau) + local_mcm(local_similarity, tau)


def _softmax(similarity: Tensor, tau: float) -> Tensor:
    if not tau > 0:
        raise ValueError(f'the temperature tau must be > 0, got {tau}')
    # at tau = 1000 all probabilities are about 1/C: in float32 most images would tie
    return (similarity.double() / tau).softmax(dim=-1)


class OODScore(NamedTuple):
    """A score as a user chooses it."""

    # of cosines (B, C, G) and (B, P, C, N) and the temperature; (B,)
    formula: Callable[[Tensor, Tensor, float], Tensor]
    needs_local: bool  # where it does not, the second argument means nothing


OOD_SCORES = {
    'mcm': OODScore(lambda of_image, _, tau: mcm(of_image, tau), needs_local=False),
    'l_mcm': OODScore(lambda _, of_patches, tau: local_mcm(of_patches, tau), needs_local=True),
    'gl_mcm': OODScore(gl_mcm, needs_local=True),
}
"""All that there are: head, metric and commands know them from here."""

OOD_FIELDS = {method: f'ood_{method}' for method in OOD_SCORES}
"""The DataSample field of each."""


def needs_local(methods: Sequence[str]) -> bool:
    """Whether one of these scores looks at patches and local prompts."""
    return any(OOD_SCORES[method].needs_local for method in methods)


def ood_scores(
    methods: Sequence[str],
    tau: float | Sequence[float],
    global_scores: Tensor,
    patches: Tensor,
    text: Tensor | None,
) -> dict[str, Tensor]:
    """Scores (B,) of a batch, or (B, T) of T temperatures, by DataSample field; in bounded memory.

    ``tau``: > 0. ``global_scores``: (B, C), cosines averaged over global prompts.
    ``patches``: (B, P, D), unit length. ``text``: (C, N, D), unit local text features; None where
    no method :func:`needs_local`. Lower is more in-distribution.
    """
    taus = tau if isinstance(tau, Sequence) else [tau]
    if text is not None:
        # a mean of cosines over prompts is the cosine with their mean: (B, P, C, N) is never made
        text = text.mean(dim=1)
    parts = [(global_scores, patches)]
    if text is not None and not is_exporting():
        size = max(MAX_NUMBERS // max(_COPIES * patches.shape[1] * len(text), 1), 1)
        parts = list(zip(global_scores.split(size), patches.split(size)))
    found: dict[str, list] = {method: [] for method in methods}
    for of_image, chunk in parts:
        of_image, of_patches = of_image[..., None], chunk
        if text is not None:
            of_patches = torch.einsum('bpd,cd->bpc', chunk, text)[..., None]
        for method, scores in found.items():
            formula = OOD_SCORES[method].formula
            scores.append(torch.stack([formula(of_image, of_patches, t) for t in taus], dim=1))
    joined = {OOD_FIELDS[method]: torch.cat(scores) for method, scores in found.items()}
    if isinstance(tau, Sequence):
        return joined
    return {field: scores[:, 0] for field, scores in joined.items()}

"""The head's OOD scores, in bounded memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..functional import local_mcm, mcm
from ..structures import OOD_FIELDS

MAX_NUMBERS = 2**25
"""Numbers of (B, P, C) that exist at once (256 MB in float64), unless one image has more."""

_COPIES = 4
"""A chunk exists so often at its peak: cosines, copied, divided by tau, softmax."""


def check_ood_settings(methods: Sequence[str], tau: float, num_local_prompts: int) -> None:
    """Refuse OOD settings of a head that cannot be computed.

    Raises:
        ValueError: A method is not known or needs local prompts that are not there, or tau <= 0.
    """
    known = tuple(OOD_FIELDS)
    if isinstance(methods, str):
        raise ValueError(f'SOTGLPHead: ood_methods={methods!r} must be a list out of {known}')
    unknown = [method for method in methods if method not in known]
    if unknown:
        raise ValueError(
            f'SOTGLPHead: ood_methods has {unknown[0]!r}, not known; choose out of {known}'
        )
    local = [method for method in methods if method != 'mcm']
    if local and not num_local_prompts:
        raise ValueError(
            f'SOTGLPHead: ood_methods has {local[0]!r}, which scores patches with local prompts, '
            "but num_local_prompts=0; take 'mcm' alone, or local prompts"
        )
    if not tau > 0:
        raise ValueError(f'SOTGLPHead: ood_tau must be > 0, got {tau}')


def ood_fields(
    methods: Sequence[str],
    tau: float,
    global_scores: Tensor,
    patches: Tensor,
    text: Tensor | None,
) -> dict[str, Tensor]:
    """OOD scores of a batch, by DataSample field.

    Args:
        methods: Out of 'mcm', 'l_mcm', 'gl_mcm'.
        tau: Temperature, > 0.
        global_scores: (B, C), cosines averaged over global prompts.
        patches: (B, P, D), unit length.
        text: (C, N, D), unit local text features; None where only 'mcm' is asked for.

    Returns:
        dict[str, Tensor]: (B,) each, lower is more in-distribution.
    """
    found = {}
    if 'mcm' in methods or 'gl_mcm' in methods:
        found['mcm'] = mcm(global_scores[..., None], tau)
    if text is not None and ('l_mcm' in methods or 'gl_mcm' in methods):
        found['l_mcm'] = _local_mcm(patches, text, tau)
    if 'gl_mcm' in methods:
        found['gl_mcm'] = found['mcm'] + found['l_mcm']
    return {OOD_FIELDS[method]: found[method] for method in methods}


def _local_mcm(patches: Tensor, text: Tensor, tau: float) -> Tensor:
    # a mean of cosines over prompts is the cosine with their mean: (B, P, C, N) is never made
    text = text.mean(dim=1)
    per_image = max(patches.shape[1] * len(text), 1)
    chunks = patches.split(max(MAX_NUMBERS // (_COPIES * per_image), 1))
    scores = [
        local_mcm(torch.einsum('bpd,cd->bpc', chunk, text)[..., None], tau) for chunk in chunks
    ]
    return torch.cat(scores)

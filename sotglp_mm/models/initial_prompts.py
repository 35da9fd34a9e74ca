"""How prompts start, and which settings of them make sense."""

import torch
from torch import Tensor, nn

LOCAL_INITS = ('random', 'orthogonal', 'template')
NOISE = 0.02
"""Standard deviation of the noise of ``local_init='template'``; CLIP draws its token embeddings
so."""


def check_prompt_settings(
    num_global: int, num_local: int, dropout: float, local_init: str
) -> None:
    """Refuse settings of a head's prompts.

    Raises:
        ValueError: A setting is out of its range.
    """
    if num_global < 1:
        raise ValueError(f'SOTGLPHead: num_global_prompts must be at least 1, got {num_global}')
    if num_local < 0:
        raise ValueError(f'SOTGLPHead: num_local_prompts must be at least 0, got {num_local}')
    if not 0 <= dropout <= 1:
        raise ValueError(f'SOTGLPHead: prompt_dropout must lie in [0, 1], got {dropout}')
    if local_init not in LOCAL_INITS:
        raise ValueError(
            f'SOTGLPHead: local_init={local_init!r} is not known; choose one of {LOCAL_INITS}'
        )


def initial_local_prompts(words: Tensor, num_classes: int, num_prompts: int, how: str) -> Tensor:
    """Local prompts before training.

    Args:
        words: (M, d), token embeddings of the context's words.
        num_classes: C, or 1 for prompts that all classes share.
        num_prompts: N.
        how: ``'random'``, Xavier-uniform over the whole tensor (as released); ``'orthogonal'``,
            for each class and token N orthonormal rows times 0.001; ``'template'``, the words,
            with noise that tells the prompts apart.

    Returns:
        Tensor: (C, N, M, d).
    """
    num_context, width = words.shape
    shape = (num_classes, num_prompts, num_context, width)
    if how == 'random':
        return nn.init.xavier_uniform_(torch.empty(shape))
    if how == 'template':
        return words + NOISE * torch.randn(shape)
    rows = torch.empty(num_classes * num_context, num_prompts, width)
    for each in rows:
        nn.init.orthogonal_(each)
    return 1e-3 * rows.unflatten(0, (num_classes, num_context)).transpose(1, 2).contiguous()

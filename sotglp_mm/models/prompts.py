"""Prompts of a head: their settings, how they start, whose classes a checkpoint's are for."""

from collections import Counter
from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ..io.checkpoint_file import CheckpointMismatch
from ..utils.settings import check_choice

LOCAL_INITS = ('random', 'orthogonal', 'template')
NOISE = 0.02
"""Standard deviation of ``local_init='template'``; CLIP draws its token embeddings so."""


def check_prompt_settings(
    num_global: int, num_local: int, dropout: float, local_init: str
) -> None:
    """Refuse settings of a head's prompts that are out of their range."""
    check_choice('SOTGLPHead', 'local_init', local_init, LOCAL_INITS)
    for is_right, text in (
        (num_global >= 1, f'num_global_prompts must be at least 1, got {num_global}'),
        (num_local >= 0, f'num_local_prompts must be at least 0, got {num_local}'),
        (0 <= dropout <= 1, f'prompt_dropout must lie in [0, 1], got {dropout}'),
    ):
        if not is_right:
            raise ValueError(f'SOTGLPHead: {text}')


def initial_local_prompts(words: Tensor, num_classes: int, num_prompts: int, how: str) -> Tensor:
    """Local prompts (C, N, M, d) before training; ``words`` (M, d) embed the context's words.

    ``num_classes`` is 1 for prompts that all classes share. ``how``: ``'random'``, Xavier-uniform
    over the whole tensor (as released); ``'orthogonal'``, for each class and token N orthonormal
    rows times 0.001; ``'template'``, the words, with noise that tells the prompts apart.
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


def match_classes(
    saved: Tensor,
    theirs: Sequence[str] | None,
    initial: Tensor,
    ours: Sequence[str],
    load_shared: bool,
) -> Tensor:
    """Local prompts (C, N, M, d) of a checkpoint, in this head's order of classes.

    Classes that are not in the checkpoint, or whose name is there more than once, get those of
    ``initial`` with ``load_shared``, and else are a :class:`CheckpointMismatch`.
    """
    if saved.shape[1:] != initial.shape[1:]:
        return saved  # refused where it is loaded
    labels, wanted = _labels_by_name(theirs or ()), _labels_by_name(ours)
    known = {wanted[name]: labels[name] for name in wanted if name in labels}
    missing = next((label for label in range(len(ours)) if label not in known), None)
    if missing is not None and not load_shared:
        raise CheckpointMismatch(
            f'The checkpoint was trained with other classes: it has {len(theirs or ())}, and not '
            f'once {ours[missing]!r}, label {missing} of the {len(ours)} of this head. Use its '
            'classes (head.class_names=<checkpoint>.pth), or head.load_shared=True to take over '
            'the prompts that all classes share, and train those of the classes.'
        )
    prompts = initial.detach().to(saved).clone()
    prompts[list(known)] = saved[list(known.values())]
    print_log(
        f'Local prompts of {len(known)} of {len(ours)} classes are those that the checkpoint has '
        'for a class of that name',
        logger='current',
    )
    return prompts


def _labels_by_name(names: Sequence[str]) -> dict[str, int]:
    """The label of each name that occurs once; ImageNet has two names that occur twice."""
    spaced = [name.replace('_', ' ') for name in names]
    counts = Counter(spaced)
    return {name: label for label, name in enumerate(spaced) if counts[name] == 1}

"""Similarities of the selected patches, without ever holding those of all patches.

The full tensor has B * P * C * N numbers, of which only K / P are used; a copy of the selected
patches has B * C * K * D, which is no smaller. Here both are met in chunks of classes, and the
gradients are weighted sums over what was selected.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .exporting import is_exporting

GATHER_BYTES = 2**22
"""How much of the selected patches is copied at a time; about what a processor's cache holds."""


def selected_similarity(patches: Tensor, prompts: Tensor, support: Tensor) -> Tensor:
    """Similarities of each class's prompts and the patches that were selected for the class.

    Differentiable once in ``patches`` and ``prompts``; what was not selected gets no gradient.
    Beside its result it holds :data:`GATHER_BYTES` in the forward pass, and index tensors of
    B * C * K * N in the backward pass.

    Args:
        patches: (B, P, D).
        prompts: (C, N, D).
        support: int64 (B, C, K), indices into P; or (B, C, K, N), a support for each prompt.

    Returns:
        Tensor: (B, C, K, N), ``<patches[b, support[b, c, k]], prompts[c, n]>``.
    """
    if is_exporting():
        return _gathered(patches, prompts, support)
    if support.ndim == 3:
        return _SelectedSimilarity.apply(patches, prompts, support)
    # a prompt with a support of its own is a class of one prompt
    of_prompts = support.transpose(2, 3)
    similarity = _SelectedSimilarity.apply(
        patches, prompts.flatten(0, 1)[:, None], of_prompts.flatten(1, 2).contiguous()
    )
    return similarity.view(of_prompts.shape).transpose(2, 3)


def _gathered(patches: Tensor, prompts: Tensor, support: Tensor) -> Tensor:
    """The same out of the full product: chunks would be counted by the batch."""
    every = (patches @ prompts.flatten(0, 1).T).unflatten(-1, prompts.shape[:2])
    if support.ndim == 3:
        support = support[..., None].expand(-1, -1, -1, prompts.shape[1])
    return every.gather(1, support.transpose(1, 2)).transpose(1, 2)


class _SelectedSimilarity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, patches: Tensor, prompts: Tensor, support: Tensor) -> Tensor:
        ctx.save_for_backward(patches, prompts, support)
        batch, num_classes, k = support.shape
        flat, width = patches.flatten(0, 1), patches.shape[-1]
        per_class = batch * k * width * patches.element_size()
        chunk = min(max(GATHER_BYTES // max(per_class, 1), 1), num_classes)
        # one buffer for all chunks: allocated anew, they would fragment the heap to their sum
        gathered = flat.new_empty(chunk, batch * k, width)
        similarity = flat.new_empty(num_classes, batch * k, prompts.shape[1])
        rows = _flat_rows(patches, support)
        for start in range(0, num_classes, chunk):
            here = slice(start, min(start + chunk, num_classes))
            selected = gathered[: here.stop - start]
            torch.index_select(flat, 0, rows[here].flatten(), out=selected.flatten(0, 1))
            torch.bmm(selected, prompts[here].transpose(1, 2), out=similarity[here])
        return similarity.unflatten(1, (batch, k)).transpose(0, 1).contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        patches, prompts, support = ctx.saved_tensors
        of_patches = of_prompts = None
        if ctx.needs_input_grad[0]:
            of_patches = _patch_gradient(grad, patches, prompts, support)
        if ctx.needs_input_grad[1]:
            of_prompts = _prompt_gradient(grad, patches, prompts, support)
        return of_patches, of_prompts, None


def _flat_rows(patches: Tensor, support: Tensor) -> Tensor:
    """Which of the B * P patches each class selected, int64 (C, B * K)."""
    batch, num_patches = patches.shape[:2]
    first = torch.arange(batch, device=support.device)[:, None, None] * num_patches
    return (support + first).transpose(0, 1).flatten(1)


def _prompt_gradient(grad: Tensor, patches: Tensor, prompts: Tensor, support: Tensor) -> Tensor:
    """(C, N, D): for each prompt, the weighted sum of the patches of its class."""
    rows = _flat_rows(patches, support)
    num_prompts = prompts.shape[1]
    bags = rows[:, None].expand(-1, num_prompts, -1).flatten(0, 1)
    weights = grad.permute(1, 3, 0, 2).reshape(bags.shape)
    summed = F.embedding_bag(bags, patches.flatten(0, 1), per_sample_weights=weights, mode='sum')
    return summed.view_as(prompts)


def _patch_gradient(grad: Tensor, patches: Tensor, prompts: Tensor, support: Tensor) -> Tensor:
    """(B, P, D): for each patch, the weighted sum of the prompts of the classes that took it."""
    num_classes, num_prompts = prompts.shape[:2]
    batch, num_patches = patches.shape[:2]
    k = support.shape[-1]
    first = torch.arange(batch, device=support.device)[:, None, None] * num_patches
    taken, order = (support + first).flatten().sort(stable=True)
    every = torch.arange(batch * num_patches, device=support.device)
    offsets = torch.searchsorted(taken, every) * num_prompts

    classes = (order // k) % num_classes
    bags = classes[:, None] * num_prompts + torch.arange(num_prompts, device=support.device)
    weights = grad.flatten(0, 2)[order].flatten()
    summed = F.embedding_bag(
        bags.flatten(), prompts.flatten(0, 1), offsets, per_sample_weights=weights, mode='sum'
    )
    return summed.view_as(patches)

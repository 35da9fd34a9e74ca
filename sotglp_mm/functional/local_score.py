"""From the similarities of selected patches and prompts to one local score a class."""

from torch import Tensor

REDUCTIONS = ('mean', 'sum')


def transport_cost(similarity: Tensor) -> Tensor:
    """Cosine similarity in [-1, 1] to a cost in [0, 2]; any shape."""
    return 1 - similarity


def local_scores(plan: Tensor, similarity: Tensor, reduction: str = 'mean') -> Tensor:
    """Transported similarity of every class.

    Args:
        plan: (..., K, N), total mass 1. No gradient flows through it.
        similarity: (..., K, N), cosines of selected patches and prompts.
        reduction: ``'sum'`` is the transported similarity ``<T, L>``, a number on the scale of a
            cosine. ``'mean'`` divides it by N, as the released program does, which weighs the
            local branch down against the global one.

    Returns:
        Tensor: (...).

    Raises:
        ValueError: ``reduction`` is not one of :data:`REDUCTIONS`.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction={reduction!r} is not known; choose one of {REDUCTIONS}')
    transported = (plan.detach() * similarity).sum(dim=(-2, -1))
    return transported / similarity.shape[-1] if reduction == 'mean' else transported

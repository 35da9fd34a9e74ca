"""What a picture of a plan shows; arrays only."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class ClassPlan(NamedTuple):
    """How one class divides the patches of one image."""

    label: int
    support: np.ndarray  # int (K,), the selected patches: row by row from the top left
    plan: np.ndarray  # (K, N), mass from patch to prompt
    similarity: np.ndarray  # (K, N), their cosines

    @property
    def fullness(self) -> np.ndarray:
        """(K,) in [0, 1]: mass of each patch, in units of the fullest one; 1 where balanced."""
        of_patch = self.plan.sum(axis=1)
        return of_patch / max(of_patch.max(), 1e-12)

    @property
    def share(self) -> np.ndarray:
        """(K, N) in [0, 1]: which part of a patch's mass each prompt gets; rows sum to 1."""
        return self.plan / np.maximum(self.plan.sum(axis=1, keepdims=True), 1e-12)

    @property
    def largest_share(self) -> float:
        """What the best prompt gets of a patch, in the mean over the mass."""
        return float(self.plan.max(axis=1).sum() / np.maximum(self.plan.sum(), 1e-12))

    @property
    def winner(self) -> np.ndarray:
        """int (K,): the prompt that gets most of the patch; -1 where that is not worth saying.

        That is where no prompt gets 5 % more than an even share (a uniform plan: everywhere).
        """
        share = self.share
        clear = share.max(axis=1) > 1.05 / share.shape[1]
        return np.where(clear, share.argmax(axis=1), -1)

    @property
    def cosine(self) -> np.ndarray:
        """(N,): for each prompt the mean cosine with its patches, weighted by the plan."""
        mass = self.plan
        return (mass * self.similarity).sum(axis=0) / np.maximum(mass.sum(axis=0), 1e-12)


def class_plan(
    label: int, support: np.ndarray, plan: np.ndarray, similarity: np.ndarray
) -> ClassPlan:
    """Also of supports (K, N) that prompts have of their own: a row for each patch in any."""
    plan, similarity = np.asarray(plan, dtype=float), np.asarray(similarity, dtype=float)
    if support.ndim == 1:
        return ClassPlan(label, support, plan, similarity)
    used = plan > 0  # a prompt may leave out the last ones of its support
    patches = np.unique(support[used])
    rows = np.searchsorted(patches, support[used])
    places = rows, np.nonzero(used)[1]
    mass, cosines = np.zeros((2, len(patches), plan.shape[1]))
    mass[places], cosines[places] = plan[used], similarity[used]
    return ClassPlan(label, patches, mass, cosines)


class PlanPicture(NamedTuple):
    """One image, what was predicted of it, and the plans of one or more classes."""

    image: np.ndarray  # uint8 (H, W, 3), RGB: what the model saw
    grid: tuple[int, int]  # rows and columns of patches
    plans: tuple[ClassPlan, ...]
    class_names: Sequence[str]
    scores: dict[str, np.ndarray]  # (C,), 'combined' and, if known, 'global' and 'local'
    true_label: int | None = None
    # known things in the image: dict(box=(x0, y0, x1, y1), of_class=bool) in pixels
    parts: Sequence[dict] = ()

    @property
    def predicted(self) -> int:
        """The class of the largest combined score."""
        return int(np.argmax(self.scores['combined']))


def patch_grid(num_patches: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of P square patches that cover an image.

    Raises:
        ValueError: They cannot cover it.
    """
    side = (height * width / num_patches) ** 0.5
    rows, columns = round(height / side), round(width / side)
    if rows * columns != num_patches:
        raise ValueError(
            f'{num_patches} square patches do not cover an image of {height} x {width} pixels; '
            'expected rows x columns of them, as a ViT makes. Plans of other backbones cannot be '
            'drawn.'
        )
    return rows, columns

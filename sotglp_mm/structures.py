"""The words that the packages share: features, transport plans and DataSample fields.

Symbols (as in the paper): B images, C classes, P patches, W vision width, D joint width,
K selected patches, N local prompts of a class, G shared global prompts.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

from torch import Tensor

PRED_SCORE = 'pred_score'
"""MMPretrain's DataSample field, (C,): class probabilities; here of all branches together."""

PRED_SCORE_GLOBAL = 'pred_score_global'
"""DataSample field, (C,): class probabilities of the global branch alone."""

PRED_SCORE_LOCAL = 'pred_score_local'
"""DataSample field, (C,): class probabilities of the local branch alone."""

BRANCHES = {'combined': PRED_SCORE, 'global': PRED_SCORE_GLOBAL, 'local': PRED_SCORE_LOCAL}
"""The field of both branches together, and of each."""

OOD_TAU = 'ood_tau'
"""DataSample metainfo: temperature of its OOD scores, or a tuple of T. The fields, ``ood_mcm`` for
example, are () or (T,); lower is more in-distribution."""

SET_NAME = 'set_name'
"""DataSample metainfo, str: which of several sets in one dataloader an image belongs to."""

COMPETING_LABELS = 'competing_labels'
SET_NAMES = 'set_names'
"""DataSample metainfo, tuple[int, ...]: the only classes that may be predicted; absent: all.

Also an entry of a dataset's metainfo, which says the same of all of its images.
"""


ALLOCATION_SUPPORT = 'allocation_support'
"""DataSample field, int64 (K,): the patches selected for the image's class."""

ALLOCATION_PLAN = 'allocation_plan'
"""DataSample field, (K, N): how they are divided among the class's prompts."""

PROMPT_COSINE = 'prompt_cosine'
"""DataSample field, (): mean cosine of pairs of the class's local text features."""

SIMILARITY_SPREAD = 'similarity_spread'
"""DataSample field, (): standard deviation of the K x N cosines of the plan."""

NUM_PATCHES = 'num_patches'
"""DataSample metainfo: P."""


class _ImageFeatures(NamedTuple):
    patches: Tensor
    """(B, P, W) behind the backbone, (B, P, D) and unit length behind the neck."""

    image: Tensor
    """(B, W) behind the backbone, (B, D) and unit length behind the neck."""


class ImageFeatures(_ImageFeatures):
    """What an image tower says of a batch: ``ImageFeatures(patches, image)``.

    ``image`` comes last, because MMPretrain's heads read ``feats[-1]``: a plain
    ``LinearClsHead`` works behind whatever returns this.
    """

    __slots__ = ()

    def __new__(
        cls, patches: Tensor | Sequence[Tensor], image: Tensor | None = None
    ) -> 'ImageFeatures':
        """Also takes both in one sequence, as MMPretrain's ``MultiTaskHead`` rebuilds a tuple."""
        if image is None:
            patches, image = patches
        return super().__new__(cls, cast(Tensor, patches), image)


class TransportPlan(NamedTuple):
    """Solved balanced transport problems, each from K sources (patches) to N targets (prompts)."""

    plan: Tensor
    """(..., K, N), non-negative, total mass 1 for each problem."""

    converged: Tensor
    """(...,) bool: ``marginal_error`` is within the tolerance that was asked for."""

    marginal_error: Tensor
    """(...,) sum over the K sources of ``|row mass - 1/K|``; the N targets are met exactly."""

    n_iters: int
    """Iterations that were run (the largest number over the batch)."""


class Allocation(NamedTuple):
    """How the selected patches of one class are divided, one class for each image of a batch."""

    support: Tensor
    """int64 (B, K), the selected patches: indices into P, row by row from the top left.

    (B, K, N) where every prompt has its own.
    """

    plan: Tensor
    """(B, K, N), which part of the mass goes from which patch to which prompt; sums to 1."""

    similarity: Tensor
    """(B, K, N), cosines of the selected patches and the prompts."""

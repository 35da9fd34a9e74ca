"""What a picture of a plan shows: from a batch, and what a model predicted of it, to arrays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from ..structures import BRANCHES, ImageFeatures

CHOICES = ('both', 'predicted', 'true')
NUM_DIMENSIONS = 3  # of an image, channels first


class ClassPlan(NamedTuple):
    """How one class divides the patches of one image."""

    label: int
    support: np.ndarray  # int (K,), the selected patches: row by row from the top left
    plan: np.ndarray  # (K, N), mass from patch to prompt
    similarity: np.ndarray  # (K, N), their cosines

    @property
    def fullness(self) -> np.ndarray:
        """(K,) in [0, 1]: mass of each patch, in units of the fullest one; 1 where balanced."""
        return self.plan.sum(axis=1) / max(self.plan.sum(axis=1).max(), 1e-12)

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
        return int(np.argmax(self.scores['combined']))


def patch_grid(num_patches: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of P square patches that cover an image."""
    side = (height * width / num_patches) ** 0.5
    rows, columns = round(height / side), round(width / side)
    if rows * columns != num_patches:
        raise ValueError(
            f'{num_patches} square patches do not cover an image of {height} x {width} pixels; '
            'expected rows x columns of them, as a ViT makes. Plans of other backbones cannot be '
            'drawn.'
        )
    return rows, columns


def classifier_problem(model: Any, inputs: Sequence) -> str | None:
    """Why no plan of this model, for these inputs of a data loader, can be drawn; or None."""
    head: Any = getattr(model, 'head', None)
    if not hasattr(model, 'extract_feat') or not hasattr(head, 'allocation'):
        return f'{type(model).__name__} with {type(head).__name__} has no transport plan'
    if head.local_prompts is None:
        return 'the head has no local prompts (num_local_prompts=0), so there is no plan'
    if getattr(inputs[0], 'ndim', None) != NUM_DIMENSIONS:
        return (
            'the batch holds no images (cached features, or several views of one); use the config '
            'that reads images, it loads the same checkpoint'
        )
    return None


@torch.no_grad()
def pictures_of_batch(
    model: Any,
    inputs: Sequence[Tensor],
    predictions: Sequence[DataSample],
    classes: str | Sequence[int] = 'both',
) -> list[PlanPicture]:
    """One for each image.

    Args:
        model: An ``ImageClassifier`` with a ``SOTGLPHead``, in eval mode, without a wrapper.
        inputs: Images (3, H, W) as the data loader gives them, before the preprocessor.
        predictions: What the model predicted of them.
        classes: Whose plans: ``'predicted'``, ``'true'`` (the predicted one where the true one is
            not known), ``'both'`` (one plan where they are the same), or labels.
    """
    if isinstance(classes, str) and classes not in CHOICES:
        raise ValueError(f'classes={classes!r} is not known; choose one of {CHOICES}, or labels')
    pixels = model.data_preprocessor(dict(inputs=list(inputs)))['inputs']
    feats = model.extract_feat(pixels)
    wanted = [_labels(sample, classes) for sample in predictions]
    plans = _plans(model.head, feats, wanted)
    grid = patch_grid(feats.patches.shape[1], *pixels.shape[-2:])
    images = seen_images(model.data_preprocessor, pixels)
    found = []
    for image, of_image, sample in zip(images, plans, predictions):
        scores = {
            name: sample.get(field).float().cpu().numpy()
            for name, field in BRANCHES.items()
            if field in sample
        }
        # what the demo's scenes know of themselves; transforms do not move it
        unmoved = sample.get('ori_shape') == sample.get('img_shape') and not sample.get('flip')
        parts = sample.get('parts', ()) if unmoved else ()
        about = model.head.class_names, scores, true_label(sample), parts
        found.append(PlanPicture(image, grid, of_image, *about))
    return found


def seen_images(preprocessor: Any, pixels: Tensor) -> np.ndarray:
    """What came out of a preprocessor, (B, 3, H, W), as 8-bit RGB (B, H, W, 3)."""
    pixels = pixels.float()
    if getattr(preprocessor, 'mean', None) is not None:
        pixels = pixels * preprocessor.std + preprocessor.mean
    if not getattr(preprocessor, 'to_rgb', True):
        pixels = pixels.flip(1)  # pipelines load BGR
    pixels = pixels.round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


def true_label(sample: DataSample) -> int | None:
    """None where it is not known, e.g. of an out-of-distribution image."""
    label = sample.get('gt_label')
    return None if label is None or len(label) == 0 else int(label[0])


def _labels(sample: DataSample, classes: str | Sequence[int]) -> list[int]:
    if not isinstance(classes, str):
        return list(classes)
    predicted, true = int(sample.pred_label[0]), true_label(sample)
    if true is None or classes == 'predicted':
        return [predicted]
    return [true] if classes == 'true' else list(dict.fromkeys((predicted, true)))


def _plans(head: Any, feats: ImageFeatures, wanted: list[list[int]]) -> list[tuple]:
    """For each image a tuple of ClassPlans."""
    rows = [row for row, labels in enumerate(wanted) for _ in labels]
    labels = [label for labels in wanted for label in labels]
    repeated = ImageFeatures(patches=feats.patches[rows], image=feats.image[rows])
    found = head.allocation(repeated, torch.tensor(labels, device=feats.patches.device))
    arrays = [part.cpu().numpy() for part in found]
    plans = [class_plan(label, *parts) for label, *parts in zip(labels, *arrays)]
    return [tuple(p for p, r in zip(plans, rows) if r == row) for row in range(len(wanted))]

"""From a batch and what a model predicted of it to what pictures show."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from ..structures import PRED_SCORE_GLOBAL, PRED_SCORE_LOCAL, ImageFeatures
from .plan_picture import PlanPicture, class_plan, patch_grid

CHOICES = ('both', 'predicted', 'true')
BRANCHES = {'combined': 'pred_score', 'global': PRED_SCORE_GLOBAL, 'local': PRED_SCORE_LOCAL}
NUM_DIMENSIONS = 3  # of an image, channels first


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

    Raises:
        ValueError: ``classes`` is not known.
    """
    if isinstance(classes, str) and classes not in CHOICES:
        raise ValueError(f'classes={classes!r} is not known; choose one of {CHOICES}, or labels')
    pixels = model.data_preprocessor(dict(inputs=list(inputs)))['inputs']
    feats = model.extract_feat(pixels)
    wanted = [_labels(sample, classes) for sample in predictions]
    plans = _plans(model.head, feats, wanted)
    grid = patch_grid(feats.patches.shape[1], *pixels.shape[-2:])
    images = seen_images(model.data_preprocessor, pixels)
    return [
        PlanPicture(
            image=image,
            grid=grid,
            plans=of_image,
            class_names=model.head.class_names,
            scores={
                name: sample.get(field).float().cpu().numpy()
                for name, field in BRANCHES.items()
                if field in sample
            },
            true_label=true_label(sample),
            parts=_parts(sample),
        )
        for image, of_image, sample in zip(images, plans, predictions)
    ]


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


def _parts(sample: DataSample) -> Sequence[dict]:
    """What the demo's scenes know of themselves; transforms do not move it."""
    unmoved = sample.get('ori_shape') == sample.get('img_shape') and not sample.get('flip')
    return sample.get('parts', ()) if unmoved else ()

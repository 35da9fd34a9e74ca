"""Do probabilities mean what they say? Temperature, and how far confidence is from accuracy."""

from typing import NamedTuple

import torch
from torch import Tensor

NUM_BINS = 15
"""Of equal width, as in [Guo17]_; an expected calibration error depends on their number."""


class Reliability(NamedTuple):
    """Of each bin of confidence; NaN where it has no image."""

    images: Tensor  # int64 (bins,), how many
    confidence: Tensor  # (bins,), mean probability of the predicted class
    accuracy: Tensor  # (bins,), part of the images whose prediction is right

    @property
    def error(self) -> float:
        """Expected calibration error, 0 to 1: mean distance of the two, weighted by images."""
        gaps = (self.accuracy - self.confidence).abs().nan_to_num(0)
        return float((gaps * self.images).sum() / self.images.sum())


def reliability(confidence: Tensor, right: Tensor, bins: int = NUM_BINS) -> Reliability:
    """Accuracy by confidence [Guo17]_.

    .. [Guo17] C. Guo et al., "On calibration of modern neural networks", ICML 2017.

    Args:
        confidence: (B,), probability of the predicted class; B > 0.
        right: (B,), whether it is the true one.
        bins: Of equal width; bin i has confidences in (i / bins, (i + 1) / bins].
    """
    confidence, right = confidence.double(), right.double()
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    count = place.bincount(minlength=bins)
    sums = (place.bincount(values, bins) for values in (confidence, right))
    return Reliability(count, *(each / count for each in sums))


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """Softmax of the same logits divided by a temperature > 0; (..., C), zeros stay zeros."""
    return (probabilities.double().log() / temperature).softmax(dim=-1)


def negative_log_likelihood(probabilities: Tensor, labels: Tensor) -> float:
    """Mean over images of ``-log p`` of the true class, in nats.

    Args:
        probabilities: (B, C).
        labels: int64 (B,).
    """
    true = probabilities.double().gather(1, labels[:, None])
    return float(-true.clamp_min(torch.finfo(torch.float32).tiny).log().mean())

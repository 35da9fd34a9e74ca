"""Running the model over images, for predict.py."""

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..structures import OOD_FIELDS
from .predict_files import Failure, ImagesToPredict, collate

TPR = 0.95


class Prediction(NamedTuple):
    """What the model says of one image."""

    path: str
    labels: list[int]
    """The most probable classes, best first."""

    probabilities: list[float]
    ood_score: float | None


@torch.no_grad()
def run_model(
    model: torch.nn.Module,
    cfg: Config,
    paths: Sequence[str],
    loader: dict,
    topk: int,
    what: str,
) -> tuple[list[Prediction], list[Failure]]:
    """Predictions of the images that can be read, and what is wrong with the others.

    Args:
        model: In eval mode.
        cfg: Of :func:`predict_config`.
        paths: Of the images.
        loader: ``batch_size`` and ``num_workers``.
        topk: Classes that are kept of each image; all, if there are fewer.
        what: Name of the progress bar.
    """
    images = ImagesToPredict(paths, cfg.test_dataloader.dataset.pipeline)
    workers = min(loader['num_workers'], len(paths), os.cpu_count() or 1)
    batches = DataLoader(images, loader['batch_size'], num_workers=workers, collate_fn=collate)
    predictions, failures = [], []
    with tqdm(total=len(paths), desc=what, unit='image', file=sys.stderr) as progress:
        for batch in batches:
            if batch.data is not None:
                samples = model.test_step(batch.data)
                predictions += [
                    prediction_of(path, sample, topk, cfg.ood_method)
                    for path, sample in zip(batch.paths, samples)
                ]
            failures += batch.failures
            progress.update(len(batch.paths) + len(batch.failures))
    return predictions, failures


def prediction_of(path: str, sample: DataSample, topk: int, method: str | None) -> Prediction:
    """What is kept of a ``DataSample``."""
    score = sample.pred_score.float().cpu()
    # of equal scores the first class, as pred_label; topk takes any
    best = score.sort(descending=True, stable=True)
    ood_score = float(sample.get(OOD_FIELDS[method])) if method else None
    return Prediction(path, best.indices[:topk].tolist(), best.values[:topk].tolist(), ood_score)


def threshold_at_tpr(scores: Sequence[float], tpr: float = TPR) -> float:
    """The smallest score that occurs and accepts at least a part ``tpr`` of the known images.

    An image is accepted, called known, if its score is at most the threshold, as in
    ``OODMetric``.
    """
    ordered = sorted(scores)
    # ceil, in whole numbers: 0.95 * 20 is 19.000000000000004 for some factors of 0.95
    needed = -(-round(tpr * 1000) * len(ordered) // 1000)
    return ordered[max(needed, 1) - 1]


def with_rounding(threshold: float, tau: float) -> float:
    """The largest score that counts as the threshold: equal images differ by rounding.

    Which images share a batch changes cosines by up to 1e-6 or so, and a score, a softmax of
    cosines over ``tau``, by that part of itself over ``tau``; 2e-7 is float32's own.
    """
    return threshold + abs(threshold) * (1e-6 / tau + 2e-7)

"""Predict images: label, probability, the next classes, and how out of place they are."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmpretrain import ImageClassificationInferencer
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from tqdm import tqdm

from ..functional import OOD_FIELDS
from .config import load_config
from .inference import Failure, failure_lines, find_images, load_inferencer, read_images
from .predict_report import as_row, check_report, print_predictions, write_report

TPR = 0.95
"""Part of the calibration images that the threshold is to accept."""


class Prediction(NamedTuple):
    """What the model predicts of one image."""

    path: str
    labels: list[int]
    """The most probable classes, best first."""

    probabilities: list[float]
    ood_score: float | None


class Predictor(NamedTuple):
    """How images are predicted."""

    inferencer: ImageClassificationInferencer
    ood: str | None
    """The OOD method, if the head has any."""

    topk: int
    batch_size: int
    num_workers: int


def predict(
    config: str | Path,
    checkpoint: str | Path | None,
    paths: Sequence[str],
    *,
    out: str | Path | None = None,
    batch_size: int = 32,
    num_workers: int = 2,
    device: str | None = None,
    topk: int = 5,
    ood: str | None = None,
    calibrate: Sequence[str] | None = None,
    threshold: float | None = None,
    data: str | Path | None = None,
    cfg_options: dict | None = None,
) -> dict[str, Any]:
    """Predict, as ``sotglp predict`` does with flags of these names.

    Images are prepared as in testing. What was predicted before an interruption is printed and
    written, too.

    Args:
        config: Path of the config.
        checkpoint: Its path, whose class names count; None for a config that learns nothing.
        paths: Image files, folders, globs.
        out: A .json or .csv file for the report.
        batch_size: Images at a time.
        num_workers: Processes that read images.
        device: Of the model. None: the GPU, if there is one.
        topk: Classes to name for each image.
        ood: The OOD score. None: 'gl_mcm' where the head has local prompts, else 'mcm'.
        calibrate: Images of known classes: the threshold accepts 95 % of them.
        threshold: The largest OOD score of a known image, instead.
        data: ``$DATA`` of the config.
        cfg_options: Settings of the config to override.

    Returns:
        dict: ``config``, ``checkpoint``, ``classes``, ``ood`` (name, method, temperature,
        threshold), ``predictions`` (one dict for each image) and ``failed``.

    Raises:
        FileNotFoundError: There is no image, config or checkpoint.
        ValueError: A setting, the config or the checkpoint cannot be used.
    """
    if out is not None:
        check_report(Path(out))
    images, failures = find_images(paths)
    calibration, more = find_images(calibrate) if calibrate else ({}, [])
    failures += more
    cfg = load_config(config, cfg_options, checkpoint=checkpoint, data=data)
    method = _ood_method(cfg, ood, is_needed=bool(ood or calibrate or threshold is not None))
    if method:
        cfg.model.head.ood_methods = [method]
        tau = cfg.model.head.get('ood_tau', 1.0)
        cfg.model.head.ood_tau = tau[0] if isinstance(tau, (list, tuple)) else tau
    inferencer = load_inferencer(cfg, checkpoint, device)
    predictor = Predictor(inferencer, method, topk, batch_size, num_workers)
    about = _about_ood(predictor, list(calibration), threshold, failures)
    names = getattr(inferencer.model.head, 'class_names', None) or inferencer.classes
    rows: list[dict] = []
    report = dict(
        config=str(config),
        checkpoint=checkpoint and str(checkpoint),
        classes=names and list(names),
        ood=about,
        predictions=rows,
    )
    limit = _limit(about)
    try:
        for result in _predictions(predictor, list(images), failures, 'predicting'):
            rows.append(as_row(*result, names, limit))
    except BaseException:
        if rows:
            _tell(report, failures, out)
        raise
    _tell(report, failures, out)
    return report


def _tell(report: dict, failures: list[Failure], out: str | Path | None) -> None:
    each_once = list(dict.fromkeys(failures))
    report['failed'] = [failure._asdict() for failure in each_once]
    print_predictions(report)
    if failures:
        print(f'\n{failure_lines(each_once)}', file=sys.stderr)
    if out is not None:
        write_report(Path(out), report)
        print(f'\nwritten to {out}')


def _predictions(
    predictor: Predictor, paths: list[str], failures: list[Failure], what: str
) -> Iterator[Prediction]:
    """One for each image that can be read; the others are added to ``failures``."""
    inferencer = predictor.inferencer
    batches = read_images(inferencer.config, paths, predictor.batch_size, predictor.num_workers)
    with tqdm(total=len(paths), desc=what, unit='image', file=sys.stderr) as progress:
        for batch in batches:
            failures += batch.failures
            samples = inferencer.forward(batch.data) if batch.data is not None else []
            for path, sample in zip(batch.paths, samples):
                yield _prediction_of(path, sample, predictor)
            progress.update(len(batch.paths) + len(batch.failures))


def _prediction_of(path: str, sample: DataSample, predictor: Predictor) -> Prediction:
    # of equal scores the first class, as pred_label; topk takes any
    best = sample.pred_score.float().cpu().sort(descending=True, stable=True)
    score = float(sample.get(OOD_FIELDS[predictor.ood])) if predictor.ood else None
    k = predictor.topk
    return Prediction(path, best.indices[:k].tolist(), best.values[:k].tolist(), score)


def _ood_method(cfg: Config, asked: str | None, is_needed: bool) -> str | None:
    """The one asked for, or else what the head can do."""
    head = cfg.model.head
    if 'task_heads' in head:
        raise ValueError(
            'the prediction of one head is shown, and this config has several '
            f'({", ".join(head.task_heads)}); use the config of one of them'
        )
    if not hasattr(MODELS.get(head.type), 'ood_scores'):
        if is_needed:
            raise ValueError(
                f'{head.type} has no OOD score; leave --ood, --calibrate and --threshold out, or '
                'take a config with SOTGLPHead'
            )
        return None
    return asked or ('gl_mcm' if head.get('num_local_prompts', 4) else 'mcm')


def _about_ood(
    predictor: Predictor,
    calibration: list[str],
    threshold: float | None,
    failures: list[Failure],
) -> dict[str, Any] | None:
    """Name, method, temperature and threshold of the OOD score; None if there is no score."""
    if predictor.ood is None:
        return None
    tau = predictor.inferencer.model.head.ood_tau
    about = dict(name=f'{predictor.ood}_T{tau:g}', method=predictor.ood, temperature=tau)
    if calibration:
        found = _predictions(predictor, calibration, failures, 'calibrating')
        scores = [each.ood_score for each in found if each.ood_score is not None]
        if not scores:
            raise ValueError('none of the images of --calibrate could be read')
        threshold = threshold_at_tpr(scores)
        limit = with_rounding(threshold, tau)
        accepted = sum(score <= limit for score in scores) / len(scores)
        about['calibration'] = dict(images=len(scores), asked=TPR, accepted=accepted)
    about['threshold'] = threshold
    return about


def _limit(about: dict | None) -> float | None:
    """The largest OOD score of a known image; None: not asked for."""
    if about is None or about['threshold'] is None:
        return None
    return with_rounding(about['threshold'], about['temperature'])


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

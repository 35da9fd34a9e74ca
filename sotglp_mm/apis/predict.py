"""Predict images: label, probability, the next classes, and how out of place they are."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmpretrain import ImageClassificationInferencer
from mmpretrain.structures import DataSample
from tqdm import tqdm

from ..functional import OOD_FIELDS, tempered
from .calibration import TPR, calibration_for, ood_threshold, set_ood_score, with_rounding
from .config import load_config
from .inference import Failure, failure_lines, find_images, load_inferencer, read_images
from .predict_report import as_row, check_report, print_predictions, write_report


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
    temperature: float
    """Of the probabilities; 1 where the checkpoint is not calibrated."""


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
    quiet: bool = False,
    data: str | Path | None = None,
    cfg_options: dict | None = None,
) -> dict[str, Any]:
    """Predict, as ``sotglp predict`` does with flags of these names.

    Images are prepared as in testing. Of a checkpoint that ``sotglp calibrate`` has seen,
    probabilities are those after its temperature, and its threshold calls images known or unknown;
    labels stay as they are. What was predicted before an interruption is printed and
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
        quiet: Print no table.
        data: ``$DATA`` of the config.
        cfg_options: Settings of the config to override.

    Returns:
        dict: ``config``, ``checkpoint``, ``classes``, ``temperature`` (of the probabilities),
        ``ood`` (name, method, temperature, threshold), ``predictions`` (one dict for each image)
        and ``failed``.

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
    method = set_ood_score(cfg, ood, is_needed=bool(calibrate or threshold is not None))
    kept = calibration_for(cfg, checkpoint) or dict(temperature=1.0, ood=None)
    inferencer = load_inferencer(cfg, checkpoint, device)
    predictor = Predictor(inferencer, method, topk, batch_size, num_workers, kept['temperature'])
    about = _about_ood(predictor, list(calibration), threshold, kept, failures)
    names = getattr(inferencer.model.head, 'class_names', None) or inferencer.classes
    rows: list[dict] = []
    report = dict(
        config=str(config),
        checkpoint=checkpoint and str(checkpoint),
        classes=names and list(names),
        temperature=kept['temperature'],
        ood=about,
        predictions=rows,
    )
    limit = _limit(about)
    try:
        for result in _predictions(predictor, list(images), failures, 'predicting'):
            rows.append(as_row(*result, names, limit))
    except BaseException:
        if rows:
            _tell(report, failures, out, quiet)
        raise
    _tell(report, failures, out, quiet)
    return report


def _tell(report: dict, failures: list[Failure], out: str | Path | None, quiet: bool) -> None:
    each_once = list(dict.fromkeys(failures))
    report['failed'] = [failure._asdict() for failure in each_once]
    if not quiet:
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
    score = sample.pred_score.float().cpu()
    best = score.sort(descending=True, stable=True).indices[: predictor.topk]
    if predictor.temperature != 1:
        score = tempered(score, predictor.temperature)
    ood = float(sample.get(OOD_FIELDS[predictor.ood])) if predictor.ood else None
    return Prediction(path, best.tolist(), score[best].tolist(), ood)


def _about_ood(
    predictor: Predictor,
    calibration: list[str],
    threshold: float | None,
    kept: dict,
    failures: list[Failure],
) -> dict[str, Any] | None:
    """Name, method, temperature and threshold of the OOD score; None if there is no score."""
    if predictor.ood is None:
        return None
    tau = predictor.inferencer.model.head.ood_tau
    about = dict(name=f'{predictor.ood}_T{tau:g}', method=predictor.ood, temperature=tau)
    source, chosen, images = '--calibrate', None, len(calibration)
    if calibration:
        found = _predictions(predictor, calibration, failures, 'calibrating')
        scores = [each.ood_score for each in found if each.ood_score is not None]
        if not scores:
            raise ValueError('none of the images of --calibrate could be read')
        chosen, images = ood_threshold(predictor.ood, tau, scores), len(scores)
    elif threshold is None and kept['ood'] and kept['ood']['name'] == about['name']:
        source, chosen, images = 'validation', kept['ood'], kept['images']
    if chosen:
        threshold = chosen['threshold']
        about['calibration'] = dict(
            images=images, source=source, asked=TPR, accepted=chosen['accepted']
        )
    about['threshold'] = threshold
    return about


def _limit(about: dict | None) -> float | None:
    """The largest OOD score of a known image; None: not asked for."""
    if about is None or about['threshold'] is None:
        return None
    return with_rounding(about['threshold'], about['temperature'])

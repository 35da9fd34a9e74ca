"""Predict images: label, probability, the next classes, and how out of place they are."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmpretrain import ImageClassificationInferencer
from tqdm import tqdm

from ..functional import OOD_FIELDS, tempered
from .calibration import TPR, calibration_for, ood_threshold, set_ood_score, with_rounding
from .config import load_config
from .inference import Failure, failure_lines, find_images, load_inferencer, read_images
from .predict_report import check_report, print_predictions, write_report


class Predictor(NamedTuple):
    """How images are predicted."""

    inferencer: ImageClassificationInferencer
    ood: str | None  # the OOD method, if the head has any
    topk: int
    batch_size: int
    num_workers: int
    temperature: float  # of the probabilities; 1 where the checkpoint is not calibrated


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
    limit = None
    if about and about['threshold'] is not None:
        limit = with_rounding(about['threshold'], about['temperature'])
    try:
        for row in _rows(predictor, list(images), failures, 'predicting'):
            for each in row['top']:
                each['label'] = names[each['label']] if names else str(each['label'])
            known = {} if limit is None else dict(known=row['ood_score'] <= limit)
            rows.append(row | row['top'][0] | known)
    except BaseException:
        if rows:
            _report(report, failures, out, quiet)
        raise
    _report(report, failures, out, quiet)
    return report


def _report(report: dict, failures: list[Failure], out: str | Path | None, quiet: bool) -> None:
    each_once = list(dict.fromkeys(failures))
    report['failed'] = [failure._asdict() for failure in each_once]
    if not quiet:
        print_predictions(report)
    if failures:
        print(f'\n{failure_lines(each_once)}', file=sys.stderr)
    if out is not None:
        write_report(Path(out), report)
        print(f'\nwritten to {out}')


def _rows(
    predictor: Predictor, paths: list[str], failures: list[Failure], what: str
) -> Iterator[dict]:
    """For each image that can be read, labels by number; the others go to ``failures``."""
    inferencer, method, topk, batch_size, num_workers, temperature = predictor
    with tqdm(total=len(paths), desc=what, unit='image', file=sys.stderr) as progress:
        for batch in read_images(inferencer.config, paths, batch_size, num_workers):
            failures += batch.failures
            samples = inferencer.forward(batch.data) if batch.data is not None else []
            for path, sample in zip(batch.paths, samples):
                score = sample.pred_score.float().cpu()
                # of equal scores the first class, as pred_label; topk takes any
                best = score.sort(descending=True, stable=True).indices[:topk]
                if temperature != 1:
                    score = tempered(score, temperature)
                pairs = zip(best.tolist(), score[best].tolist())
                top = [dict(label=label, probability=value) for label, value in pairs]
                ood = dict(ood_score=float(sample.get(OOD_FIELDS[method]))) if method else {}
                yield dict(path=path, **top[0], top=top, **ood)
            progress.update(len(batch.paths) + len(batch.failures))


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
        found = _rows(predictor, calibration, failures, 'calibrating')
        scores = [row['ood_score'] for row in found]
        if not scores:
            raise ValueError('none of the images of --calibrate could be read')
        chosen, images = ood_threshold(predictor.ood, tau, scores), len(scores)
    elif threshold is None and kept['ood'] and kept['ood']['name'] == about['name']:
        source, chosen, images = 'validation', kept['ood'], kept['images']
    if chosen:
        threshold = chosen['threshold']
        accepted = chosen['accepted']
        about['calibration'] = dict(images=images, source=source, asked=TPR, accepted=accepted)
    about['threshold'] = threshold
    return about

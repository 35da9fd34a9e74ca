"""Predict images: label, probability, the next classes, and how out of place they are."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from mmpretrain import ImageClassificationInferencer
from tqdm import tqdm

from ..functional import OOD_FIELDS, tempered
from ..io.files import check_writable, write_atomically
from ..utils.tables import print_table
from .calibration import TPR, calibration_for, ood_threshold, set_ood_score, with_rounding
from .config import load_config
from .inference import Failure, failure_lines, find_images, load_inferencer, read_images


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
    """
    if out is not None:
        out = Path(out)
        if out.suffix.lower() not in ('.json', '.csv'):
            raise ValueError(f'--out {out}: expected a .json or .csv file')
        check_writable(out, '--out')
    images, failures = find_images(paths)
    calibration, more = find_images(calibrate) if calibrate else ({}, [])
    failures += more
    cfg = load_config(config, cfg_options, checkpoint=checkpoint, data=data)
    method = set_ood_score(cfg, ood, is_needed=bool(calibrate or threshold is not None))
    kept = calibration_for(cfg, checkpoint)
    inferencer = load_inferencer(cfg, checkpoint, device)
    predictor = Predictor(
        inferencer, method, topk, batch_size, num_workers, kept['temperature'], failures
    )
    about = predictor.about_ood(list(calibration), threshold, kept)
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
        for row in predictor.rows(list(images), 'predicting'):
            for each in row['top']:
                each['label'] = names[each['label']] if names else str(each['label'])
            known = {} if limit is None else dict(known=row['ood_score'] <= limit)
            rows.append(row | row['top'][0] | known)
    except BaseException:
        if rows:
            _finish(report, failures, out, quiet)
        raise
    _finish(report, failures, out, quiet)
    return report


class Predictor(NamedTuple):
    """How images are predicted."""

    inferencer: ImageClassificationInferencer
    ood: str | None  # the OOD method, if the head has any
    topk: int
    batch_size: int
    num_workers: int
    temperature: float  # of the probabilities; 1 where the checkpoint is not calibrated
    failures: list[Failure]  # what could not be read is added here

    def rows(self, paths: list[str], title: str) -> Iterator[dict]:
        """For each image that can be read, labels by number."""
        with tqdm(total=len(paths), desc=title, unit='image', file=sys.stderr) as progress:
            batches = read_images(self.inferencer.config, paths, self.batch_size, self.num_workers)
            for batch in batches:
                self.failures.extend(batch.failures)
                samples = self.inferencer.forward(batch.data) if batch.data is not None else []
                for path, sample in zip(batch.paths, samples):
                    score = sample.pred_score.float().cpu()
                    # of equal scores the first class, as pred_label; topk takes any
                    best = score.sort(descending=True, stable=True).indices[: self.topk]
                    if self.temperature != 1:
                        score = tempered(score, self.temperature)
                    pairs = zip(best.tolist(), score[best].tolist())
                    top = [dict(label=label, probability=value) for label, value in pairs]
                    row = dict(path=path, **top[0], top=top)
                    if self.ood:
                        row['ood_score'] = float(sample.get(OOD_FIELDS[self.ood]))
                    yield row
                progress.update(len(batch.paths) + len(batch.failures))

    def about_ood(
        self, calibration: list[str], threshold: float | None, kept: dict
    ) -> dict[str, Any] | None:
        """Name, method, temperature and threshold of the OOD score; None if there is no score."""
        if self.ood is None:
            return None
        tau = self.inferencer.model.head.ood_tau
        about = dict(name=f'{self.ood}_T{tau:g}', method=self.ood, temperature=tau)
        source, chosen, images = '--calibrate', None, len(calibration)
        if calibration:
            scores = [row['ood_score'] for row in self.rows(calibration, 'calibrating')]
            if not scores:
                raise ValueError('none of the images of --calibrate could be read')
            chosen, images = ood_threshold(self.ood, tau, scores), len(scores)
        elif threshold is None and kept['ood']:
            source, chosen, images = 'validation', kept['ood'], kept['images']
        if chosen:
            threshold, accepted = chosen['threshold'], chosen['accepted']
            about['calibration'] = dict(images=images, source=source, asked=TPR, accepted=accepted)
        about['threshold'] = threshold
        return about


def _finish(report: dict, failures: list[Failure], out: Path | None, quiet: bool) -> None:
    each_once = list(dict.fromkeys(failures))
    report['failed'] = [failure._asdict() for failure in each_once]
    if not quiet:
        _print(report)
    if failures:
        print(f'\n{failure_lines(each_once)}', file=sys.stderr)
    if out is not None:
        _write(out, report)
        print(f'\nwritten to {out}')


def _print(report: dict) -> None:
    """A line for each image, and the threshold."""
    rows, ood = report['predictions'], report['ood']
    if not rows:
        print('no image could be read')
        return
    head = ['image', 'label', 'prob.']
    head += [ood['name']] if 'ood_score' in rows[0] else []
    head += ['known?'] if 'known' in rows[0] else []
    head += ['next'] if len(rows[0]['top']) > 1 else []
    print_table(head, map(_cells, rows))
    if ood and ood['threshold'] is not None:
        text = f'known: {ood["name"]} <= {ood["threshold"]:.6g}'
        if of := ood.get('calibration'):
            text += (
                f', the threshold that accepts {of["asked"]:.0%} of {of["images"]} images of '
                f'{of["source"]} ({of["accepted"]:.1%} exactly)'
            )
        print(f'\n{text}')
    if report['temperature'] != 1:
        print(f'\nprobabilities: at temperature {report["temperature"]:.4g}, of sotglp calibrate')


def _cells(row: dict) -> list[str]:
    cells = [row['path'], row['label'], f'{row["probability"]:.3f}']
    cells += [f'{row["ood_score"]:.4f}'] if 'ood_score' in row else []
    cells += ['known' if row['known'] else 'unknown'] if 'known' in row else []
    others = [f'{each["label"]} {each["probability"]:.3f}' for each in row['top'][1:]]
    return [*cells, ', '.join(others)] if others else cells


def _write(file: Path, report: dict) -> None:
    r"""Write ``.json``, all of it, or ``.csv``, a line for each image.

    A byte of a file name that is not UTF-8 is written as ``\udc..``, which JSON's readers turn
    into Python's own name of the file.
    """
    if file.suffix.lower() == '.json':
        text = json.dumps(report, indent=2, ensure_ascii=False) + '\n'
    else:
        lines = [_csv_line(row, report['ood']) for row in report['predictions']]
        text = pd.DataFrame(lines + report['failed'], dtype=object).to_csv(index=False)
    write_atomically(file, text.encode('utf-8', 'backslashreplace'), 'Choose another --out')


def _csv_line(row: dict, ood: dict | None) -> dict:
    line = {key: row[key] for key in ('path', 'label', 'probability')}
    if ood and 'ood_score' in row:
        line[f'ood_{ood["name"]}'] = row['ood_score']
    if 'known' in row:
        line['known'] = 'known' if row['known'] else 'unknown'
    for place, each in enumerate(row['top'][1:], start=2):
        line |= {f'{key}_{place}': value for key, value in each.items()}
    return line

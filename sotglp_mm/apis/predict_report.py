"""What predict.py prints and writes."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from .predict_files import Failure
from .predict_run import Prediction

WIDEST_PATH = 60


def as_rows(
    predictions: Sequence[Prediction], names: Sequence[str] | None, threshold: float | None
) -> list[dict]:
    """One dict for each image, of plain values; ``known`` only where there is a threshold.

    Args:
        predictions: Of the images.
        names: Class names in label order; None: labels are shown as numbers.
        threshold: The largest OOD score of a known image.
    """
    rows = []
    for prediction in predictions:
        top = [
            dict(label=names[label] if names else str(label), probability=probability)
            for label, probability in zip(prediction.labels, prediction.probabilities)
        ]
        row = dict(path=prediction.path, **top[0], top=top)
        if prediction.ood_score is not None:
            row['ood_score'] = prediction.ood_score
        if threshold is not None:
            row['known'] = prediction.ood_score <= threshold
        rows.append(row)
    return rows


def table(rows: Sequence[dict], ood_name: str | None) -> str:
    """Aligned columns for the terminal."""
    if not rows:
        return 'no image could be read'
    head = ['image', 'label', 'prob.']
    head += [ood_name] if 'ood_score' in rows[0] else []
    head += ['known?'] if 'known' in rows[0] else []
    head += ['next'] if len(rows[0]['top']) > 1 else []
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    texts = ['  '.join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in lines]
    return '\n'.join([texts[0], '-' * max(map(len, texts)), *texts[1:]])


def _cells(row: dict) -> list[str]:
    path = row['path']
    if len(path) > WIDEST_PATH:
        path = '...' + path[3 - WIDEST_PATH :]
    cells = [path, row['label'], f'{row["probability"]:.3f}']
    if 'ood_score' in row:
        cells.append(f'{row["ood_score"]:.4f}')
    if 'known' in row:
        cells.append('known' if row['known'] else 'unknown')
    others = [f'{each["label"]} {each["probability"]:.3f}' for each in row['top'][1:]]
    return [*cells, ', '.join(others)] if others else cells


def failure_lines(failures: Sequence[Failure]) -> str:
    """What could not be read, and why."""
    lines = [f'{len(failures)} of the images could not be read:']
    return '\n'.join([*lines, *(f'  {failure.path}: {failure.error}' for failure in failures)])


def write_report(file: Path, report: dict) -> None:
    """``.json``: all of it; ``.csv``: a line for each image."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() == '.json':
        file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + '\n', 'utf-8')
        return
    lines = [_csv_line(row, report['ood']) for row in report['predictions']]
    lines += [dict(path=failure['path'], error=failure['error']) for failure in report['failed']]
    columns = list(dict.fromkeys(column for line in lines for column in line))
    with file.open('w', newline='', encoding='utf-8') as target:
        writer = csv.DictWriter(target, columns)
        writer.writeheader()
        writer.writerows(lines)


def _csv_line(row: dict, ood: dict | None) -> dict:
    line = {key: row[key] for key in ('path', 'label', 'probability')}
    if 'ood_score' in row:
        line[f'ood_{ood["name"]}'] = row['ood_score']
    if 'known' in row:
        line['known'] = 'known' if row['known'] else 'unknown'
    for place, each in enumerate(row['top'][1:], start=2):
        line[f'label_{place}'], line[f'probability_{place}'] = each.values()
    return line

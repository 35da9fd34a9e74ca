"""What ``sotglp predict`` prints and writes."""

import json
from pathlib import Path

import pandas as pd

from ..io.files import check_writable, write_atomically
from ..utils.tables import print_table


def print_predictions(report: dict) -> None:
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
        print(f'\n{_threshold_line(ood)}')
    if report['temperature'] != 1:
        print(f'\nprobabilities: at temperature {report["temperature"]:.4g}, of sotglp calibrate')


def _cells(row: dict) -> list[str]:
    cells = [row['path'], row['label'], f'{row["probability"]:.3f}']
    if 'ood_score' in row:
        cells.append(f'{row["ood_score"]:.4f}')
    if 'known' in row:
        cells.append('known' if row['known'] else 'unknown')
    others = [f'{each["label"]} {each["probability"]:.3f}' for each in row['top'][1:]]
    return [*cells, ', '.join(others)] if others else cells


def _threshold_line(ood: dict) -> str:
    text = f'known: {ood["name"]} <= {ood["threshold"]:.6g}'
    if 'calibration' not in ood:
        return text
    of = ood['calibration']
    return (
        f'{text}, the threshold that accepts {of["asked"]:.0%} of {of["images"]} images of '
        f'{of["source"]} ({of["accepted"]:.1%} exactly)'
    )


def check_report(file: Path) -> None:
    """Refuse a file that could not be written, before the work.

    Raises:
        ValueError: It is no .json or .csv file.
        OSError: Its folder cannot be written to.
    """
    if file.suffix.lower() not in ('.json', '.csv'):
        raise ValueError(f'--out {file}: expected a .json or .csv file')
    check_writable(file, '--out')


def write_report(file: Path, report: dict) -> None:
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

"""Labels out of the MATLAB files that two sets bring; run as a program, it reads one.

SciPy's reader can end the interpreter on a damaged file, so it works in a process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS = 120
"""The largest of these files is read in one."""


def read_flower_labels(file: Path) -> list[int]:
    """The label of every image, in the order of their numbers.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no ``imagelabels.mat``.
    """
    return _read(file, 'labels')


def read_car_labels(file: Path) -> dict[str, int]:
    """The label of every image, by its file name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no list of annotations.
    """
    return dict(_read(file, 'annotations'))


def _read(file: Path, variable: str) -> list:
    if not file.is_file():
        raise FileNotFoundError(
            f'{file} does not exist: without a split file, it alone tells the classes of the '
            "images. Bring it (it is part of the set), or the field's split file."
        )
    command = [sys.executable, __file__, str(file), variable]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        if done.returncode < 0:
            why = f'reading it ended with signal {-done.returncode}'
        elif done.returncode:
            why = (done.stderr.strip().splitlines() or ['no reason was given'])[-1][:200]
        else:
            return json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        why = f'no answer in {SECONDS} s'
    raise ValueError(
        f'{file} cannot be read as a MATLAB file with {variable!r} ({why}): it is damaged, or '
        "another file. Get it anew, or bring the field's split file."
    )


def _labels(table: Any) -> list[int]:
    labels = [int(label) for label in table[0]]
    if list(table[0]) != labels:
        raise ValueError('labels that are no whole numbers')
    return labels


def _annotations(table: Any) -> list[tuple[str, int]]:
    return [(str(row['fname'][0]), int(row['class'][0, 0])) for row in table[0]]


def _main(file: str, variable: str) -> None:
    from scipy.io import loadmat  # comes with scikit-learn; nothing else here needs it

    sort_out = {'labels': _labels, 'annotations': _annotations}[variable]
    print(json.dumps(sort_out(loadmat(file, variable_names=[variable])[variable])))


if __name__ == '__main__':
    _main(*sys.argv[1:])

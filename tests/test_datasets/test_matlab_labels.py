"""Labels of MATLAB files; a damaged file is named, whatever SciPy does with it."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from mini_runs import REPO
from scipy.io import savemat

from sotglp_mm.datasets import class_of_image, matlab_labels
from sotglp_mm.datasets.find_place import Place
from sotglp_mm.datasets.matlab_labels import read_car_labels, read_flower_labels

NAMES = ('rose', 'tulip')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    savemat(tmp_path / 'imagelabels.mat', dict(labels=np.array([[1, 2, 2]])))
    return tmp_path / 'imagelabels.mat'


def test_labels(file: Path):
    assert read_flower_labels(file) == [1, 2, 2]


@pytest.mark.parametrize(
    'spoil',
    [
        lambda file: file.write_bytes(file.read_bytes()[:60]),
        lambda file: file.write_text('<html>404 Not Found</html>' * 20),
        lambda file: file.write_bytes(b''),
        lambda file: savemat(file, dict(other=[[1]])),
        lambda file: savemat(file, dict(labels=[[1.5]])),
        lambda file: shutil.copy(REPO / 'tests' / 'data' / 'ends_the_interpreter.mat', file),
    ],
    ids=['truncated', 'html', 'empty', 'no labels', 'half a label', 'segmentation fault'],
)
def test_damaged_files_are_named(file: Path, spoil):
    spoil(file)
    with pytest.raises(
        ValueError, match=r"imagelabels\.mat cannot be read as a MATLAB file with 'l"
    ):
        read_flower_labels(file)
    with pytest.raises(ValueError, match=r"imagelabels\.mat cannot be read .*'annotations'"):
        read_car_labels(file)


def test_a_reader_that_crashes_or_hangs_is_told(file: Path, tmp_path: Path, monkeypatch):
    program = tmp_path / 'program.py'
    program.write_text(f'import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})')
    monkeypatch.setattr(matlab_labels, '__file__', os.fspath(program))
    with pytest.raises(ValueError, match=r'reading it ended with signal 11'):
        read_flower_labels(file)
    program.write_text('import time; time.sleep(60)')
    monkeypatch.setattr(matlab_labels, 'SECONDS', 0.2)
    with pytest.raises(ValueError, match=r'no answer in 0\.2 s'):
        read_flower_labels(file)


@pytest.mark.parametrize('image', ['image_00000.jpg', 'image_00004.jpg', 'abc.jpg', 'x_00001.jpg'])
def test_an_image_without_a_label_is_named(file: Path, image: str):
    class_of = class_of_image._flowers(Place(file.parent, file.parent / 'jpg'), NAMES)
    assert class_of('image_00001.jpg') == 'rose'
    with pytest.raises(
        ValueError, match=rf'jpg/{image} has no label in .*imagelabels\.mat, which'
    ):
        class_of(image)


@pytest.mark.parametrize('label', [0, 3, -1])
def test_a_label_of_no_class_is_named(file: Path, label: int):
    savemat(file, dict(labels=[[label]]))
    class_of = class_of_image._flowers(Place(file.parent, file.parent / 'jpg'), NAMES)
    with pytest.raises(ValueError, match=rf'imagelabels\.mat has label {label}; expected 1 to 2'):
        class_of('image_00001.jpg')

"""What commands and users call."""

from .app import app
from .calibration import calibrate, read_calibration
from .check_data import check_data
from .config import build_runner, load_config
from .export import export
from .extract import extract
from .few_shot_classifier import FewShotClassifier
from .predict import predict
from .show import show
from .strict import strict_loading
from .test import test
from .train import train

__all__ = [
    'FewShotClassifier',
    'app',
    'build_runner',
    'calibrate',
    'check_data',
    'export',
    'extract',
    'load_config',
    'predict',
    'read_calibration',
    'show',
    'strict_loading',
    'test',
    'train',
]

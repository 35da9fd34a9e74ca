"""The embedded demo: drawn scenes, digits, a tiny CLIP, and runs of them."""

from .digits_dataset import DemoDigitsDataset
from .run_demo import run_demo
from .scenes_dataset import DemoScenesDataset
from .unseen_dataset import DemoUnseenDataset

__all__ = ['DemoDigitsDataset', 'DemoScenesDataset', 'DemoUnseenDataset', 'run_demo']

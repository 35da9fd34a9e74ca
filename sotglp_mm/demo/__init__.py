"""The embedded demo: drawn scenes, digits, a tiny CLIP, and runs of them."""

from .datasets import DemoDigitsDataset, DemoScenesDataset, DemoUnseenDataset
from .run_demo import run_demo

__all__ = ['DemoDigitsDataset', 'DemoScenesDataset', 'DemoUnseenDataset', 'run_demo']

"""A feature cache of the miniature, made by the tool as a user makes it."""

import copy
import os
import shutil
from pathlib import Path
from unittest import mock

from mini_runs import run_tool, write_config, write_images
from mmengine.config import Config

from sotglp_mm import apis

VIEWS = 3
STRAIGHT = 'train_dataloader.dataset.dataset.pipeline.2.prob=0.0'
"""An option that leaves nothing to chance in the miniature's training images."""


def extract(config: Path, out: Path, *flags):
    """``sotglp extract`` as a user runs it, without worker processes."""
    arguments = ['extract_features.py', config, '--out', out, '--workers', 0, *flags]
    return run_tool(arguments, config.parent)


class MiniCache:
    """A folder with images, ``mini.py``, and a complete cache in ``cache``."""

    def __init__(self, folder: Path, clip: dict):
        self.folder = folder
        self.cache = folder / 'cache'
        write_images(folder / 'dtd')
        self.config = write_config(folder / 'mini.py', clip, image_size=48)
        with mock.patch.dict(os.environ, DATA=str(folder)):
            apis.extract(self.config, self.cache, VIEWS, workers=0)

    def load(self, file: Path) -> Config:
        """Read a config as the tools do, and as if DATA were this folder."""
        with mock.patch.dict(os.environ, DATA=str(self.folder)):
            cfg = Config.fromfile(file)
        return cfg

    def copy(self, to: Path) -> Path:
        """A copy of the cache, to be damaged."""
        return Path(shutil.copytree(self.cache, to / 'copy'))

    def dataset(self, loader: str = 'train_dataloader', **changes) -> dict:
        """Config of a cached dataset, with some settings changed."""
        return {**copy.deepcopy(self.load(self.cache / 'config.py')[loader].dataset), **changes}

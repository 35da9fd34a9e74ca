"""Miniatures for end-to-end tests: images, configs that train on them, stored features."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

from mini_data import SHIFT_LABELS, WNIDS, write_image
from mmengine.config import Config
from process_group import run_script

from sotglp_mm import apis
from sotglp_mm.class_names.resolve import resolve_class_names

REPO = Path(__file__).parents[1]
CLASSES = ('banded', 'blotchy', 'braided')
PER_CLASS = {'train': 5, 'val': 1, 'test': 3}


def write_images(root: Path) -> None:
    """DTD's layout with three classes."""
    splits: dict[str, list] = {}
    for split, count in PER_CLASS.items():
        for label, name in enumerate(CLASSES):
            for number in range(count):
                relative = f'{name}/{name}_{split}_{number}.jpg'
                write_image(root / 'images' / relative, label)
                splits.setdefault(split, []).append([relative, label, name])
    (root / 'split_zhou_DescribableTextures.json').write_text(json.dumps(splits))


def write_config(path: Path, clip: dict, random: bool = False) -> Path:
    """The config of a dataset, on a tiny CLIP, images of 48 pixels, three classes and two epochs.

    Args:
        random: With crops and prompt dropout, and without workers.
    """
    workers = 'num_workers=0, persistent_workers=False' if random else 'num_workers=1'
    prompts = 'num_global_prompts=3, prompt_dropout=0.5, ' if random else ''
    path.write_text(f"""
_base_ = {str(REPO / 'configs' / 'sotglp_vitb16_16shot_dtd.py')!r}
load = dict(type='LoadImageStrict')
resize = dict(type='Resize', scale=48, backend='pillow')
crop = dict(type='RandomResizedCrop', scale=48, crop_ratio_range=(0.2, 1.0), backend='pillow')
flip = dict(type='RandomFlip', prob=0.5)
train_dataloader = dict(
    batch_size=4, {workers},
    dataset=dict(
        num_shots=4,
        dataset=dict(pipeline=[
            load, {'crop' if random else 'resize'}, flip, dict(type='PackInputs')])))
val_dataloader = dict(
    batch_size=4, {workers},
    dataset=dict(pipeline=[load, resize, dict(type='PackInputs')]))
test_dataloader = val_dataloader
val_evaluator = [dict(type='Accuracy', topk=(1,)), dict(type='BranchAccuracy', branch='global'),
                 dict(type='BranchAccuracy', branch='local')]
test_evaluator = val_evaluator
model = dict(clip=dict(_delete_=True, **{clip!r}),
             head=dict({prompts}class_names={list(CLASSES)!r}, num_local_prompts=2))
train_cfg = dict(max_epochs=2, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1), logger=dict(interval=1))
""")
    return path


def run_tool(
    arguments: list, data: Path, script: str = '', world: int = 1
) -> subprocess.CompletedProcess:
    """A tool as a user runs it: ``python tools/train.py ...``, or a shell script.

    Args:
        world: Number of processes of a Python tool, as torchrun starts them.
    """
    environment = {**os.environ, 'DATA': str(data), 'PYTHON': sys.executable}
    environment['OMP_NUM_THREADS'] = '1'
    tool = str(REPO / 'tools' / (script or arguments.pop(0)))
    command = [tool, *map(str, arguments)]
    if not script:
        flags = ['--launcher', 'pytorch'] if world > 1 else []
        return run_script([tool, *flags, *command[1:]], environment, world)
    command = ['bash', *command]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def small_config(path: Path, all_data: Path, work_dir: Path, clip: dict, size: int = 48) -> Config:
    """A config of the project, as a tool would run it, with ``$DATA`` at ``all_data``."""
    options = {'model.clip': dict(_delete_=True, **clip)}
    cfg = apis.load_config(path, options, work_dir, data=all_data)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer)
    cfg.default_hooks.checkpoint.interval = 1
    cfg.model.head.num_local_prompts = 2
    cfg.randomness = dict(seed=1)
    for metric in [*cfg.val_evaluator, *cfg.test_evaluator]:
        if metric.type == 'Accuracy':
            metric.topk = (1,)  # the miniatures have fewer than five classes
    for name in LOADERS:
        cfg[name].update(batch_size=4, num_workers=0, persistent_workers=False)
        shrink_data(cfg[name].dataset, size)
    return cfg


def shrink_data(node, size: int) -> None:
    """Small images, and 4 of ImageNet's classes, wherever a dataset stands in a config."""
    for key, child in list(node.items()) if isinstance(node, dict) else []:
        if key == 'pipeline':
            node[key] = [
                dict(type='LoadImageStrict'),
                dict(type='Resize', scale=size, backend='pillow'),
                dict(type='PackInputs'),
            ]
        else:
            shrink_data(child, size)
        if key in SHIFT_LABELS:
            child['num_classes'] = len(SHIFT_LABELS[key])
    if isinstance(node, dict) and node.get('type') in (
        'CoOpImageNetDataset',
        'ImageNetShiftDataset',
    ):
        node['class_names'] = list(resolve_class_names('imagenet')[: len(WNIDS)])


def config_of(name: str) -> Path:
    """The ViT-B/16 config of a set of the benchmark."""
    suffix = '' if name == 'imagenet' else f'_{name}'
    return REPO / 'configs' / f'sotglp_vitb16_16shot{suffix}.py'


VIEWS = 3
STRAIGHT = 'train_dataloader.dataset.dataset.pipeline.2.prob=0.0'
"""An option that leaves nothing to chance in the miniature's training images."""


class MiniCache:
    """A folder with images, ``mini.py``, and a complete cache in ``cache``."""

    def __init__(self, folder: Path, clip: dict):
        self.folder = folder
        self.cache = folder / 'cache'
        write_images(folder / 'dtd')
        self.config = write_config(folder / 'mini.py', clip)
        with mock.patch.dict(os.environ, DATA=str(folder)):
            apis.extract(self.config, self.cache, VIEWS, workers=0)

    def load(self, file: Path) -> Config:
        """Read a config as the tools do, and as if DATA were this folder."""
        with mock.patch.dict(os.environ, DATA=str(self.folder)):
            return Config.fromfile(file)

    def copy(self, to: Path) -> Path:
        """A copy of the cache, to be damaged."""
        return Path(shutil.copytree(self.cache, to / 'copy'))

    def dataset(self, loader: str = 'train_dataloader', **changes) -> dict:
        """Config of a cached dataset, with some settings changed."""
        return {**copy.deepcopy(self.load(self.cache / 'config.py')[loader].dataset), **changes}

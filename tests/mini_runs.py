"""Miniatures for end-to-end tests: a folder in CoOp's layout, and a config that trains on it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from process_group import run_script

REPO = Path(__file__).parents[1]
CLASSES = ('banded', 'blotchy', 'braided')
PER_CLASS = {'train': 5, 'val': 1, 'test': 3}


def write_images(root: Path) -> None:
    """DTD's layout with three classes; a class is a colour, so it can be learned."""
    rng = np.random.default_rng(0)
    splits: dict[str, list] = {}
    for split, count in PER_CLASS.items():
        for label, name in enumerate(CLASSES):
            for number in range(count):
                relative = f'{name}/{name}_{split}_{number}.jpg'
                file = root / 'images' / relative
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 80, (60, 70, 3), dtype=np.uint8)
                pixels[..., label] += 150
                Image.fromarray(pixels).save(file)
                splits.setdefault(split, []).append([relative, label, name])
    (root / 'split_zhou_DescribableTextures.json').write_text(json.dumps(splits))


def write_config(
    path: Path, clip: dict, image_size: int, dataset: str = 'dtd', classes: tuple = CLASSES
) -> Path:
    """The config of a dataset, on a tiny CLIP, three classes and two epochs."""
    path.write_text(f"""
_base_ = {str(REPO / 'configs' / f'sotglp_vitb16_16shot_{dataset}.py')!r}
load = dict(type='LoadImageStrict')
resize = dict(type='Resize', scale={image_size}, backend='pillow')
flip = dict(type='RandomFlip', prob=0.5)
train_dataloader = dict(
    batch_size=4, num_workers=1,
    dataset=dict(
        num_shots=4,
        dataset=dict(pipeline=[load, resize, flip, dict(type='PackInputs')])))
val_dataloader = dict(
    batch_size=4, num_workers=1,
    dataset=dict(pipeline=[load, resize, dict(type='PackInputs')]))
test_dataloader = val_dataloader
val_evaluator = [dict(type='Accuracy', topk=(1,)), dict(type='BranchAccuracy', branch='global'),
                 dict(type='BranchAccuracy', branch='local')]
test_evaluator = val_evaluator
model = dict(clip=dict(_delete_=True, **{clip!r}),
             head=dict(class_names={list(classes)!r}, num_local_prompts=2))
train_cfg = dict(max_epochs=2, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1), logger=dict(interval=1))
""")
    return path


def run_tool(arguments: list, data: Path, script: str = '') -> subprocess.CompletedProcess:
    """A tool as a user runs it: ``python tools/train.py ...``, or a shell script."""
    environment = {**os.environ, 'DATA': str(data), 'PYTHON': sys.executable}
    environment['OMP_NUM_THREADS'] = '1'
    tool = str(REPO / 'tools' / (script or arguments.pop(0)))
    command = [tool, *map(str, arguments)]
    if not script:
        return run_script(command, environment)
    command = ['bash', *command]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

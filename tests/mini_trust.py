"""Small trainings in this process, with everything random switched on, and how to compare them."""

import json
from pathlib import Path

import torch
from mini_runs import write_config, write_images
from mmengine.logging import MessageHub

from sotglp_mm.apis import build_runner, load_config

EPOCHS = 4
TIMES = ('time', 'data_time', 'memory')
"""What a log may differ in."""


def trust_config(folder: Path, clip: dict, epochs: int = EPOCHS) -> Path:
    """Crops, flips and prompt dropout; epochs of 3 steps on images that it writes."""
    write_images(folder / 'dtd')
    write_config(folder / 'mini.py', clip, random=True)
    path = folder / 'trust.py'
    path.write_text(f"""
_base_ = './mini.py'
data_root = {str(folder / 'dtd')!r}
train_dataloader = dict(dataset=dict(dataset=dict(data_root=data_root)))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs={epochs}, val_interval=1)
param_scheduler = dict(T_max={epochs})  # also where a test stops earlier
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=-1))
""")
    return path


def train(path: Path, work_dir: Path, **options) -> Path:
    """Train in this process as ``tools/train.py`` does; the work dir.

    Args:
        options: Settings to change; ``__`` stands for a dot.
    """
    options = {name.replace('__', '.'): value for name, value in options.items()}
    cfg = load_config(path, options, work_dir)
    cfg.experiment_name = f'{work_dir.name}_{len(MessageHub._instance_dict)}'
    build_runner(cfg).train()
    return work_dir


def losses(work_dir: Path) -> dict[int, dict]:
    """What was logged at each training step, without times; of all runs in a work dir."""
    return _rows(work_dir, training=True)


def metrics(work_dir: Path) -> dict[int, dict]:
    """What was logged of each validation, as in ``losses``."""
    return _rows(work_dir, training=False)


def _rows(work_dir: Path, training: bool) -> dict[int, dict]:
    rows = {}
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines(keepends=True):
            if not line.endswith('\n'):
                break  # its process was killed while it wrote
            row = json.loads(line)
            if ('loss' in row) is training:
                step = {key: value for key, value in row.items() if key not in TIMES}
                assert rows.setdefault(row['step'], step) == step, 'a repeated step differs'
    return rows


def learned(checkpoint: Path) -> dict:
    """All that a checkpoint holds but log, times and the text of the config."""
    content = torch.load(checkpoint, weights_only=True)
    parts = ('state_dict', 'optimizer', 'param_schedulers', 'random_states')
    return {part: content[part] for part in parts}


def assert_equal(one, other, where: str = '') -> None:
    """Two trees of dicts, lists, tensors and numbers are the same, bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f'{where}.{key}')
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other)):
            assert_equal(*pair, f'{where}.{number}')
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where

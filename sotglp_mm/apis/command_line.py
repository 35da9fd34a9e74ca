"""What the command lines of the tools share."""

import argparse
import os
from pathlib import Path

import torch
from mmengine.config import Config, DictAction

from ..apis import share_settings
from ..engine import prepare_cpu_processes

NO_CHECKPOINT = 'none'


def checkpoint_path(text: str) -> str | None:
    """The argument CHECKPOINT; the word 'none' is for a config that learns nothing."""
    return None if text == NO_CHECKPOINT else text


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of training and testing, named as MMPretrain names them."""
    parser.add_argument(
        '--work-dir',
        help='folder of logs and checkpoints; by default work_dir of the config, or '
        'work_dirs/<name of the config>',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. model.head.num_local_prompts=6 '
        'clip.pretrained=/path/to/ViT-B-16.pt; lists as key="[a,b]" or key=a,b',
    )
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='do not pin the memory of the data loaders'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how several processes are started; see tools/dist_train.sh',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and settle launcher and work dir."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return cfg


def finish_config(cfg: Config, args: argparse.Namespace) -> None:
    """What comes last: loaders' defaults, the user's overrides, and what follows from them."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            cfg[name].setdefault('collate_fn', dict(type='default_collate'))
            cfg[name].setdefault('pin_memory', _has_gpu())
            _cap_workers(cfg[name])
            if args.no_pin_memory:
                cfg[name].pin_memory = False
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    _without_idle_persistence(cfg)
    share_settings(cfg)
    prepare_cpu_processes(cfg)


def _cap_workers(loader: dict) -> None:
    """No more than there are cores: torch warns of that, and it is slower."""
    loader['num_workers'] = min(loader.get('num_workers', 0), os.cpu_count() or 1)


def _without_idle_persistence(cfg: Config) -> None:
    """The recipes keep workers alive, and torch refuses that once a user asks for none."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name) and cfg[name].get('num_workers', 0) == 0:
            cfg[name].persistent_workers = False


def _has_gpu() -> bool:
    return torch.cuda.is_available()  # without one, pinning only makes torch warn

"""Train a model: ``python tools/train.py CONFIG``, with MMPretrain's flags."""

import argparse
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from ..engine import explaining_lost_process, latest_checkpoint
from ..io.checkpoint_file import (
    check_resumable,
    check_weights,
    naming_checkpoint,
    refusing_checkpoint,
)
from .command_line import add_common_arguments, finish_config, load_config


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from CHECKPOINT, or from the latest whole one in the work dir',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on a GPU, bfloat16 on a CPU',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate on the way')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the total batch size over auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--no-persistent-workers',
        action='store_true',
        help='start the data workers anew in every epoch',
    )
    add_common_arguments(parser)
    return parser.parse_args()


def apply_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Flags that only training has."""
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        dtype = 'float16' if torch.cuda.is_available() else 'bfloat16'
        cfg.optim_wrapper.update(type='AutocastOptimWrapper', dtype=dtype)
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        cfg.auto_scale_lr.enable = True
    if args.no_persistent_workers:
        for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if cfg.get(name):
                cfg[name].persistent_workers = False


def settle_checkpoint(cfg: Config) -> list[str]:
    """Where to start or resume from, settled before anything is built.

    Returns:
        What to warn of: files that a killed process, or a full disk, left broken.

    Raises:
        FileNotFoundError, ValueError: The checkpoint asked for is none, or cannot be resumed from.
    """
    if not cfg.get('resume'):
        if cfg.get('load_from'):
            check_weights(cfg.load_from)
        return []
    if cfg.get('load_from'):
        check_resumable(cfg.load_from, count_schedulers(cfg))
        return []
    found = latest_checkpoint(cfg.work_dir, count_schedulers(cfg))
    cfg.load_from = str(found.path) if found.path else None
    cfg.resume = found.path is not None
    goes_on = f'The run goes on from {found.path}' if found.path else 'The run begins anew'
    return [f'--resume: {skipped}. {goes_on}' for skipped in found.skipped]


def count_schedulers(cfg: Config) -> int | None:
    """How many schedules the config has; None if several optimisers have their own."""
    found = cfg.get('param_scheduler')
    if isinstance(found, dict):
        return 1 if 'type' in found else None
    return len(found or ())


class ResumingRunner(Runner):
    """MMEngine's runner; what a foreign checkpoint makes fail in it is said to be its fault."""

    def resume(self, *args: Any, **kwargs: Any) -> None:
        """Take up optimiser, schedule and log, too."""
        with refusing_checkpoint('Optimiser, schedule or log'):
            super().resume(*args, **kwargs)


def main() -> None:
    """Train."""
    args = parse_args()
    cfg = load_config(args)
    apply_arguments(cfg, args)
    finish_config(cfg, args)
    warnings = settle_checkpoint(cfg)
    runner = ResumingRunner.from_cfg(cfg)
    for warning in warnings:
        runner.logger.warning(warning)
    with naming_checkpoint(cfg.get('load_from')), explaining_lost_process():
        runner.train()


if __name__ == '__main__':
    main()

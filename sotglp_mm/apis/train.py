"""Train a model: ``sotglp train CONFIG``."""

from pathlib import Path

import torch
from mmengine.config import Config

from ..engine import explaining_lost_process, latest_checkpoint, work_dir_lock
from ..engine.distributed import prepare_processes
from ..io.checkpoint_file import check_resumable, check_weights, naming_checkpoint
from .config import build_runner, load_config, loaders_of


def train(
    config: str | Path,
    *,
    work_dir: str | Path | None = None,
    resume: str | Path | None = None,
    amp: bool = False,
    precision: str | None = None,
    no_validate: bool = False,
    auto_scale_lr: bool = False,
    no_pin_memory: bool = False,
    no_persistent_workers: bool = False,
    data: str | Path | None = None,
    launcher: str = 'none',
    cfg_options: dict | None = None,
) -> None:
    """Train, as ``sotglp train`` does with flags of these names."""
    options = cfg_options or {}
    if amp or precision:
        dtype = precision or ('float16' if torch.cuda.is_available() else 'bfloat16')
        autocast = {'type': 'AutocastOptimWrapper', 'dtype': dtype}
        options = {**{f'optim_wrapper.{key}': autocast[key] for key in autocast}, **options}
    if auto_scale_lr:
        options = {'auto_scale_lr.enable': True, **options}
    cfg = load_config(config, options, work_dir, launcher=launcher, data=data)
    for loader in loaders_of(cfg):
        if no_pin_memory:
            loader.pin_memory = False
        if no_persistent_workers:
            loader.persistent_workers = False
    if no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if resume:
        cfg.resume = True
        cfg.load_from = None if resume == 'auto' else str(resume)
    with explaining_lost_process():
        prepare_processes(cfg)
        with work_dir_lock(cfg.work_dir):
            warnings = settle_checkpoint(cfg)
            runner = build_runner(cfg)
            for warning in warnings:
                runner.logger.warning(warning)
            with naming_checkpoint(cfg.get('load_from')):
                runner.train()


def settle_checkpoint(cfg: Config) -> list[str]:
    """Where to start or resume from, settled before anything is built.

    Returns what to warn of: files that a killed process, or a full disk, left broken.
    """
    if cfg.get('load_from'):
        (check_resumable if cfg.get('resume') else check_weights)(cfg.load_from)
        return []
    if not cfg.get('resume'):
        return []
    found = latest_checkpoint(cfg.work_dir)
    cfg.load_from = str(found.path) if found.path else None
    cfg.resume = found.path is not None
    what = f'The run resumes from {found.path}' if found.path else 'A new run starts'
    return [f'--resume: {skipped}. {what}' for skipped in found.skipped]

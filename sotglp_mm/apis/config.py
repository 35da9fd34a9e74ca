"""The one way from a config file to a runner."""

import argparse
import inspect
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS

from ..class_names.resolve import FROM_DATASET, class_names_of_checkpoint
from ..engine.distributed import prepare_processes
from ..features.manifest import LOADERS

READ_BY_RUNNER = {
    *inspect.signature(Runner.__init__).parameters,
    *('model_wrapper_cfg', 'find_unused_parameters', 'sync_bn', 'activation_checkpointing'),
    *('efficient_conv_bn_eval', 'compile', 'runner_type', 'tta_model', 'tta_pipeline'),
} - {'self', 'cfg'}
"""Top-level settings that a run reads. All others are variables of the config's Python."""

MMENGINE_HOOKS = (
    *('runtime_info', 'timer', 'sampler_seed'),
    *('logger', 'param_scheduler', 'checkpoint'),
)

INSTEAD = {
    'own_data': 'name your images with --data PATH',
    'clip': 'set model.clip, e.g. model.clip.pretrained=/path/to/ViT-B-16.pt',
    'data': 'name the folder with --data PATH, or set <train|val|test>_dataloader.dataset',
    'vis_backends': 'set visualizer.vis_backends',
}


def load_config(
    config: str | Path,
    options: dict | None = None,
    work_dir: str | Path | None = None,
    checkpoint: str | Path | None = None,
    launcher: str = 'none',
    data: str | Path | None = None,
) -> Config:
    """Read a config as our commands run it.

    Args:
        config: Path of the file.
        options: As ``--cfg-options``, e.g. ``{'train_cfg.max_epochs': 10}``.
        work_dir: Folder of logs and checkpoints. By default ``work_dir`` of the config, or else
            ``work_dirs/<name of the config>``.
        checkpoint: Of a run whose class names the head takes, where the checkpoint keeps any.
        launcher: How several processes are started: 'none', 'pytorch', 'slurm' or 'mpi'.
        data: Value of ``$DATA`` while the config is read.

    Raises:
        FileNotFoundError: Config or checkpoint does not exist.
        ValueError: An option would have no effect, or the checkpoint cannot be read.
    """
    with _data_at(data):
        cfg = Config.fromfile(config)
    cfg.launcher = launcher
    if work_dir or not cfg.get('work_dir'):
        cfg.work_dir = str(work_dir or Path('work_dirs') / Path(config).stem)
    if checkpoint and '://' not in str(checkpoint):  # an address is left to MMEngine
        _take_class_names(cfg, class_names_of_checkpoint(checkpoint))
    _set_loader_defaults(cfg)
    _check_options(cfg, options or {})
    cfg.merge_from_dict(options or {})
    _check_schedule(cfg)
    for name in [name for name, hook in (cfg.get('default_hooks') or {}).items() if hook is None]:
        if name not in MMENGINE_HOOKS:  # MMEngine removes its own, and fails at others
            del cfg.default_hooks[name]
    for name in ('val_evaluator', 'test_evaluator'):
        for metric in metrics_of(cfg, name):
            if metric.get('diagram'):
                metric.diagram = str(Path(cfg.work_dir) / metric.diagram)
    for loader in loaders_of(cfg):
        if not loader.get('num_workers'):
            loader.persistent_workers = False  # torch refuses to keep workers that there are not
    if (cfg.get('model') or {}).get('head', {}).get('class_names') == FROM_DATASET:
        _take_class_names(cfg, class_names_of_dataset(cfg))
    return cfg


def build_runner(cfg: Config) -> Runner:
    """MMEngine's runner of a config of :func:`load_config`; several processes run on CPUs too."""
    prepare_processes(cfg)
    return Runner.from_cfg(cfg)


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """``--cfg-options``, 'KEY=VALUE' each, as MMEngine reads them."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='*', action=DictAction, default={})
    return parser.parse_args(['--cfg-options', *texts]).cfg_options


def class_names_of_dataset(cfg: Config) -> tuple[str, ...]:
    """Class names of the training set; of the test set where there are no training images."""
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    problems = []
    for name in ('train_dataloader', 'test_dataloader'):
        if not cfg.get(name):
            continue
        try:
            classes = DATASETS.build(cfg[name].dataset).metainfo.get('classes')
        except (OSError, ValueError) as error:
            problems.append(str(error))
            continue
        if classes:
            return tuple(classes)
        problems.append(f'{cfg[name].dataset.type} has no class names')
    raise ValueError(
        f'{"; ".join(dict.fromkeys(problems)) or "The config has no dataset"}. So there are no '
        "class names for class_names='dataset': correct this, or give the names as a list, or as "
        'the path of a text file with one name a line'
    )


def metrics_of(cfg: Config, evaluator: str) -> list[Any]:
    """Settings of the metrics of 'val_evaluator' or 'test_evaluator'."""
    metrics = cfg.get(evaluator) or []
    return [metrics] if isinstance(metrics, dict) else list(metrics)


def _take_class_names(cfg: Config, names: tuple[str, ...] | None) -> None:
    if names and 'class_names' in cfg.model.get('head', {}):
        cfg.model.head.class_names = list(names)


@contextmanager
def _data_at(data: str | Path | None) -> Iterator[None]:
    before = os.environ.get('DATA')
    if data is not None:
        os.environ['DATA'] = str(data)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop('DATA', None)
        else:
            os.environ['DATA'] = before


def loaders_of(cfg: Config) -> list[Any]:
    """Settings of the data loaders that there are."""
    return [cfg[name] for name in LOADERS if cfg.get(name)]


def _set_loader_defaults(cfg: Config) -> None:
    for loader in loaders_of(cfg):
        loader.setdefault('collate_fn', dict(type='default_collate'))
        loader.setdefault('pin_memory', torch.cuda.is_available())  # without one, torch warns
        # more than there are cores are slower, and torch warns
        loader.num_workers = min(loader.get('num_workers', 0), os.cpu_count() or 1)


def _check_options(cfg: Config, options: dict) -> None:
    """Below the top level, the parts refuse what they do not know."""
    for name in ('own_data', 'clip'):
        if name in cfg:
            raise ValueError(f'The config sets {name}, which no part reads: {INSTEAD[name]}')
    for option in options:
        key = option.split('.')[0]
        if key in READ_BY_RUNNER:
            continue
        advice = INSTEAD.get(key, 'set the parts that the run reads, e.g. model.head.class_names')
        raise ValueError(f'--cfg-options {option}: no part of the run reads {key!r}; {advice}')


def _check_schedule(cfg: Config) -> None:
    """A cosine that ends before the training climbs back to the highest learning rate."""
    schedules, train = cfg.get('param_scheduler') or [], cfg.get('train_cfg') or {}
    for schedule in [schedules] if isinstance(schedules, dict) else schedules:
        by_epoch = schedule.get('by_epoch', True)
        name = 'max_epochs' if by_epoch else 'max_iters'
        end = min(schedule.get('end', math.inf), train.get(name) or math.inf)
        length = end - schedule.get('begin', 0)
        if 'T_max' in schedule and schedule['T_max'] < length < math.inf:
            raise ValueError(
                f'param_scheduler.T_max={schedule["T_max"]} is shorter than the {length} of '
                f'train_cfg.{name}: the learning rate would climb again. Leave T_max out, it '
                'follows from the length of the training'
            )

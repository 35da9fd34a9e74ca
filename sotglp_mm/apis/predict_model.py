"""The model that predict.py runs: a config, what a checkpoint keeps, and an OOD score."""

from argparse import Namespace

import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmpretrain.registry import MODELS

from ..apis import load_config
from ..class_names.resolve import class_names_of_checkpoint
from ..io.checkpoint_file import check_weights, naming_checkpoint


def predict_config(args: Namespace) -> Config:
    """The config, with the class names that the checkpoint keeps, and the OOD score asked for.

    Raises:
        ValueError: The config cannot predict images: it reads features, or has several heads.
    """
    cfg = load_config(args.config, args.cfg_options, checkpoint=args.checkpoint)
    _check(cfg)
    cfg.ood_method = _ood_method(cfg, args)
    if cfg.ood_method:
        cfg.model.head.ood_methods = [cfg.ood_method]
    return cfg


def _check(cfg: Config) -> None:
    dataset = cfg.test_dataloader.dataset
    if dataset.type == 'CachedFeatureDataset':
        raise ValueError(
            'predict.py needs images, and this config reads cached features; use the config that '
            'the cache was made from, it loads the same checkpoint'
        )
    if not dataset.get('pipeline'):
        raise ValueError(
            f'test_dataloader.dataset ({dataset.type}) has no pipeline; write there the '
            'transforms from LoadImageStrict to PackInputs'
        )
    if 'task_heads' in cfg.model.head:
        raise ValueError(
            'predict.py shows the prediction of one head, and this config has several '
            f'({", ".join(cfg.model.head.task_heads)}); use the config of one of them'
        )


def _ood_method(cfg: Config, args: Namespace) -> str | None:
    """The one asked for, or else what the head can do."""
    if not hasattr(MODELS.get(cfg.model.head.type), 'ood_scores'):
        asked = args.ood or args.calibrate or args.threshold is not None
        if asked:
            raise ValueError(
                f'{cfg.model.head.type} has no OOD score; leave --ood, --calibrate and '
                '--threshold out, or take a config with SOTGLPHead'
            )
        return None
    local = cfg.model.head.get('num_local_prompts', 4)
    return args.ood or ('gl_mcm' if local else 'mcm')


def build_model(cfg: Config, checkpoint: str | None, device: str) -> torch.nn.Module:
    """The model with what was learned, if anything was, in eval mode."""
    model = MODELS.build(cfg.model)
    if checkpoint is not None:
        check_weights(checkpoint)
        with naming_checkpoint(checkpoint):
            load_checkpoint(model, checkpoint, map_location='cpu', logger='silent')
    return model.to(device).eval()


def displayed_names(model: torch.nn.Module, checkpoint: str | None) -> tuple[str, ...] | None:
    """Class names in label order; None, where neither head nor checkpoint has any."""
    names = getattr(model.head, 'class_names', None)
    return names or (class_names_of_checkpoint(checkpoint) if checkpoint else None)

"""The real configs, cut down to a generated miniature: tiny CLIP, tiny images, one epoch."""

from pathlib import Path

from mini_data import SHIFT_LABELS, WNIDS
from mini_runs import REPO
from mmengine.config import Config

from sotglp_mm.apis import load_config
from sotglp_mm.class_names.resolve import resolve_class_names

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def small_config(path: Path, all_data: Path, work_dir: Path, clip: dict, size: int = 48) -> Config:
    """A config of the project, as a tool would run it, with ``$DATA`` at ``all_data``."""
    options = {'model.clip': dict(_delete_=True, **clip)}
    cfg = load_config(path, options, work_dir, data=all_data)
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

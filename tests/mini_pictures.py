"""The demo, untrained, for tests that draw: its config, its model, a checkpoint."""

from pathlib import Path

import torch
from mini_runs import REPO
from mmengine.config import Config
from mmpretrain.registry import DATASETS, MODELS
from torch import nn

CONFIG = REPO / 'configs' / 'sotglp_demo_16shot.py'


def demo_config() -> Config:
    """In this process: without worker processes."""
    cfg = Config.fromfile(CONFIG)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].update(num_workers=0, persistent_workers=False)
    return cfg


def demo_model() -> nn.Module:
    """In eval mode; its prompts are random, so most predictions are wrong."""
    torch.manual_seed(0)
    return MODELS.build(demo_config().model).eval()


def write_checkpoint(model: nn.Module, folder: Path) -> Path:
    """What the model has to learn, as a run would leave it."""
    torch.save(dict(state_dict=model.state_dict()), folder / 'demo.pth')
    return folder / 'demo.pth'


def demo_batch(*indices: int) -> dict:
    """Of the test set, as the data loader of a run gives it."""
    items = [_test_set()[index] for index in indices]
    inputs = torch.stack([item['inputs'] for item in items])
    return dict(inputs=inputs, data_samples=[item['data_samples'] for item in items])


def _test_set():
    dataset = demo_config().test_dataloader.dataset
    dataset.pipeline[-1].meta_keys = ('sample_idx', 'ori_shape', 'img_shape', 'parts')
    return DATASETS.build(dataset)

"""Every config reads, says what it is, resolves its types and builds its model."""

import ast
import os
import subprocess
import sys

import pytest
import yaml
from mini_runs import REPO
from mmengine.config import Config
from mmpretrain.registry import (
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
)

from sotglp_mm.engine import share_settings

CONFIGS = sorted((REPO / 'configs').glob('*.py'))
MIXING = sorted((REPO / 'configs' / 'mixing').glob('*.py'))


def name_of(path) -> str:
    return path.relative_to(REPO).as_posix()


@pytest.fixture(params=[*CONFIGS, *MIXING], ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path_with_our_head(request):
    return request.param


def test_docstring_names_paper_and_command(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert '2603.08347' in docstring
    assert f'python tools/train.py {name_of(path)}' in docstring
    assert 'Expected:' in docstring
    assert 'XX' not in docstring  # a number that is still to be measured


def test_types_resolve(path):
    cfg = Config.fromfile(path)
    loaders = [cfg.train_dataloader.dataset, cfg.train_dataloader.dataset.dataset]
    loaders += [cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
    loaders += cfg.test_dataloader.dataset.get('sets', {}).values()
    assert all(DATASETS.get(dataset.type) for dataset in loaders)
    assert all(TRANSFORMS.get(t.type) for t in cfg.val_dataloader.dataset.pipeline)
    assert all(TRANSFORMS.get(t.type) for t in cfg.train_dataloader.dataset.dataset.pipeline)
    assert all(HOOKS.get(h.type) for h in [*cfg.default_hooks.values(), *cfg.custom_hooks])
    assert all(METRICS.get(m.type) for m in [*cfg.val_evaluator, *cfg.test_evaluator])
    assert OPTIM_WRAPPERS.get(cfg.optim_wrapper.type)
    assert PARAM_SCHEDULERS.get(cfg.param_scheduler.type)


def test_schedule_ends_at_zero(path):
    cfg = Config.fromfile(path)
    assert cfg.param_scheduler.T_max == cfg.train_cfg.max_epochs


def test_builds_on_a_tiny_clip_given_in_one_line(path_with_our_head, tiny):
    cfg = Config.fromfile(path_with_our_head)
    cfg.merge_from_dict({'clip': dict(_delete_=True, **tiny.clip)})
    share_settings(cfg)
    if 'own_data' in cfg:
        cfg.model.head.class_names = ['cat', 'dog']
    model = MODELS.build(cfg.model)
    assert model.backbone.towers is model.neck.towers is model.head.towers
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    projection = {'neck.local_projection.weight'} if cfg.model.neck.learn else set()
    assert learned == {'head.global_prompts', 'head.local_prompts'} | projection


def test_model_index_lists_every_config():
    index = yaml.safe_load((REPO / 'configs' / 'metafile.yml').read_text())
    assert sorted(model['Config'] for model in index['Models']) == sorted(
        name_of(path) for path in [*CONFIGS, *MIXING]
    )


def test_mmpretrain_finds_models_by_name(tmp_path):
    """``ModelHub`` reads the index as MIM does, and MMPretrain builds what it finds."""
    code = f"""
from mmpretrain.apis import ModelHub, get_model, list_models
ModelHub.register_model_index({str(REPO / 'model-index.yml')!r}, config_prefix={str(REPO)!r})
head = get_model('sotglp_demo_16shot_digits').head
print(*list_models('sotglp*'))
print(type(head).__name__)
"""
    done = subprocess.run(
        [sys.executable, '-c', code],
        **dict(cwd=tmp_path, capture_output=True, text=True, check=True),
        env={**os.environ, 'PYTHONPATH': str(REPO)},
    )
    *_, names, head = done.stdout.splitlines()
    assert names.split() == sorted(path.stem for path in CONFIGS if path.stem.startswith('sotglp'))
    assert head == 'SOTGLPHead'

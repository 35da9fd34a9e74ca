"""Every config reads, says what it is, resolves its types and builds its model."""

import ast
import os
import subprocess
import sys

import open_clip
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

from sotglp_mm.apis import load_config
from sotglp_mm.clip.load import EMBEDDED

CONFIGS = sorted((REPO / 'configs').glob('*.py'))
MIXING = sorted((REPO / 'configs' / 'mixing').glob('*.py'))
METHODS = sorted(p for n in ('demo', 'vitb16', 'photos') for p in REPO.glob(f'configs/{n}/*.py'))
BASE = REPO / 'configs' / '_base_'
TOWERS = sorted(path.stem for path in (BASE / 'models').glob('*.py'))


def name_of(path) -> str:
    return path.relative_to(REPO).as_posix()


@pytest.fixture(params=[*CONFIGS, *MIXING, *METHODS], ids=name_of)
def path(request):
    return request.param


@pytest.fixture(params=[*CONFIGS, *METHODS], ids=name_of)
def path_with_our_head(request):
    return request.param


@pytest.fixture(params=TOWERS)
def tower_config(request, tmp_path) -> Config:
    """A base model put together with data, schedule and runtime, as its users do."""
    bases = [f'models/{request.param}', 'datasets/clip224_16shot', 'schedules/sgd_cosine_200e']
    bases = [str(BASE / f'{name}.py') for name in (*bases, 'default_runtime')]
    data = "dict(type='OwnImagesDataset', data_root='photos')"
    (tmp_path / 'tower.py').write_text(f"""
_base_ = {bases!r}
train_dataloader = dict(dataset=dict(dataset={data}))
val_dataloader = test_dataloader = dict(dataset={data})
model = dict(head=dict(class_names=['cat', 'dog']))
""")
    return Config.fromfile(tmp_path / 'tower.py')


def test_docstring_names_paper_and_command_and_types_resolve(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    tool = 'test' if path.stem == 'zero_shot' else 'train'  # it learns nothing
    assert '2603.08347' in docstring
    assert f'python tools/{tool}.py {name_of(path)}' in docstring
    assert 'Expected:' in docstring
    assert 'XX' not in docstring  # a number that is still to be measured
    cfg = Config.fromfile(path)
    check_types(cfg)
    assert not {'T_max', 'begin', 'end'} & set(cfg.param_scheduler)  # MMEngine: max_epochs


def check_types(cfg: Config) -> None:
    loaders = [cfg.train_dataloader.dataset, cfg.train_dataloader.dataset.dataset]
    loaders += [cfg.val_dataloader.dataset, cfg.test_dataloader.dataset]
    loaders += cfg.test_dataloader.dataset.get('sets', {}).values()
    assert all(DATASETS.get(dataset.type) for dataset in loaders)
    assert all(TRANSFORMS.get(t.type) for t in cfg.val_dataloader.dataset.pipeline)
    assert all(TRANSFORMS.get(t.type) for t in cfg.train_dataloader.dataset.dataset.pipeline)
    assert all(HOOKS.get(h.type) for h in cfg.default_hooks.values())
    assert all(METRICS.get(m.type) for m in [*cfg.val_evaluator, *cfg.test_evaluator])
    assert OPTIM_WRAPPERS.get(cfg.optim_wrapper.type)
    assert PARAM_SCHEDULERS.get(cfg.param_scheduler.type)


def test_builds_on_a_tiny_clip_given_in_one_line(path_with_our_head, tiny):
    check_builds(Config.fromfile(path_with_our_head), tiny.clip)


def check_builds(cfg: Config, clip: dict) -> None:
    cfg.merge_from_dict({'model.clip': dict(_delete_=True, **clip)})
    if cfg.model.head.class_names == 'dataset':
        cfg.model.head.class_names = ['cat', 'dog']
    model = MODELS.build(cfg.model)
    assert model.backbone.towers is model.neck.towers is model.head.towers
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    expected = {'head.global_prompts'}
    if cfg.model.head.num_local_prompts:
        expected.add('head.local_prompts')
    if cfg.model.neck.learn:
        expected.add('neck.local_projection.weight')
    assert learned == expected


def test_base_towers_can_be_had_resolve_and_build(tower_config, tiny):
    clip = tower_config.model.clip
    if clip.model_name not in EMBEDDED:
        assert open_clip.get_pretrained_cfg(clip.model_name, clip.pretrained)
        layers = open_clip.get_model_config(clip.model_name)['vision_cfg']['layers']
        assert isinstance(layers, int), 'a ViT'
    check_types(tower_config)
    check_builds(tower_config, tiny.clip)


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


def test_another_tower_by_options():
    """As the README has it."""
    line = '--cfg-options model.clip.model_name=ViT-L-14 model.clip.pretrained=openai'
    assert line in (REPO / 'README.md').read_text()
    options = dict(word.split('=') for word in line.split()[1:])
    cfg = load_config(REPO / 'configs' / 'sotglp_vitb16_16shot_dtd.py', options)
    assert cfg.model.clip == dict(model_name='ViT-L-14', pretrained='openai')


@pytest.mark.parametrize(
    ('name', 'drawn'),
    [
        ('', {}),
        ('_dtd', {}),
        ('_stanford_cars', dict(label_codes='first_appearance')),
        ('_oxford_flowers', dict(label_codes='first_appearance')),
        ('_fgvc_aircraft', dict(split='trainval_file')),
        ('_ood', {}),
    ],
)
def test_as_released(monkeypatch, name: str, drawn: dict):
    monkeypatch.setenv('CONFIG', f'sotglp_vitb16_16shot{name}')
    cfg = load_config(REPO / 'configs' / '_base_' / 'as_released.py')
    ours = load_config(REPO / 'configs' / f'sotglp_vitb16_16shot{name}.py')
    assert cfg.work_dir == f'work_dirs/sotglp_vitb16_16shot{name}_as_released'
    assert (cfg.model.head.keep_underscores, cfg.model.head.ood_tau) == (True, 1000)
    few_shot = cfg.train_dataloader.dataset
    assert few_shot.sampling == 'stratified' and few_shot.num_shots == 16
    assert {**few_shot, **few_shot.dataset}.items() >= drawn.items()
    assert few_shot.dataset.data_root == ours.train_dataloader.dataset.dataset.data_root
    for dataset, other in (
        (few_shot.dataset, ours.train_dataloader.dataset.dataset),
        (cfg.val_dataloader.dataset, ours.val_dataloader.dataset),
        (cfg.test_dataloader.dataset, ours.test_dataloader.dataset),
    ):
        assert dataset.pipeline[0].color_type == 'color_ignore_orientation'
        assert dataset.pipeline[1:] == other.pipeline[1:]
    assert cfg.val_cfg.fp16 and cfg.test_cfg.fp16
    recalls = [each.get('recall') for each in cfg.test_evaluator if each.type == 'OODMetric']
    assert recalls == (['nearest'] if name == '_ood' else [])
    # a set that draws its images keeps all steps
    monkeypatch.setenv('CONFIG', 'sotglp_demo_16shot')
    files = ('_base_/as_released.py', 'sotglp_demo_16shot.py')
    configs = [load_config(REPO / 'configs' / file) for file in files]
    one, other = (each.train_dataloader.dataset.dataset.pipeline for each in configs)
    assert one == other

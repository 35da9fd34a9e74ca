"""From a config file to a config that runs: options, data, class names, hooks, schedule."""

import os
from pathlib import Path

import mat4py
import pytest
from mini_checkpoints import write_checkpoint
from mini_data import write_image
from mini_runs import REPO
from mmengine.config import Config
from mmpretrain.registry import DATASETS, MODELS

from sotglp_mm.apis import load_config
from sotglp_mm.class_names.resolve import resolve_class_names

DEMO = REPO / 'configs' / 'sotglp_demo_16shot.py'
OWN = REPO / 'configs' / 'sotglp_vitb16_16shot_own.py'


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for label, name in enumerate(('cat', 'dog')):
        for i in range(4):
            write_image(tmp_path / 'photos' / name / f'{i}.jpg', label)
    return tmp_path / 'photos'


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('own_data', 'no part of the run reads .own_data.; name your images with --data PATH'),
        ('clip.pretrained', r'no part of the run reads .clip.; set model\.clip'),
        ('data.data_root', 'no part of the run reads .data.; name the folder with --data'),
        ('vis_backends.0.type', r'.*set visualizer\.vis_backends'),
        ('trian_cfg.max_epochs', 'no part of the run reads .trian_cfg.; set the parts that'),
    ],
)
def test_an_option_without_effect_is_refused(option: str, message: str):
    with pytest.raises(ValueError, match=f'--cfg-options {option}: {message}'):
        load_config(DEMO, {option: 1})


def test_a_config_of_an_earlier_version_is_refused(tmp_path: Path):
    (tmp_path / 'old.py').write_text(f'_base_ = {str(DEMO)!r}\nown_data = dict()\n')
    with pytest.raises(ValueError, match='The config sets own_data, which no part reads'):
        load_config(tmp_path / 'old.py')


def test_options_reach_the_parts_and_none_switches_a_hook_off():
    options = {'train_cfg.max_epochs': 3, 'default_hooks.few_shot_record': None}
    cfg = load_config(DEMO, {**options, 'default_hooks.timer': None}, 'runs/a')
    assert (cfg.train_cfg.max_epochs, cfg.work_dir) == (3, 'runs/a')
    assert 'few_shot_record' not in cfg.default_hooks
    assert cfg.default_hooks.timer is None  # MMEngine's own: it must see that
    assert load_config(DEMO).work_dir == 'work_dirs/sotglp_demo_16shot'


def test_a_cosine_that_would_climb_again_is_refused():
    load_config(DEMO, {'param_scheduler.T_max': 50, 'train_cfg.max_epochs': 50})
    with pytest.raises(ValueError, match=r'T_max=50 is shorter than the 51 of train_cfg\.max_ep'):
        load_config(DEMO, {'param_scheduler.T_max': 50, 'train_cfg.max_epochs': 51})


def test_data_sets_the_variable_for_the_config_alone(photos: Path, monkeypatch):
    monkeypatch.setenv('DATA', '/elsewhere')
    cfg = load_config(OWN, data=photos)
    assert os.environ['DATA'] == '/elsewhere'
    assert cfg.train_dataloader.dataset.dataset.data_root == str(photos)
    assert cfg.model.head.class_names == ['cat', 'dog']


def test_class_names_come_from_the_checkpoint_where_there_are_no_images(tmp_path: Path):
    meta = dict(epoch=1, iter=3, dataset_meta=dict(classes=['cow', 'cat']))
    file = write_checkpoint(tmp_path / 'epoch_1.pth', meta=meta)
    cfg = load_config(OWN, checkpoint=file, data=tmp_path / 'absent')
    assert cfg.model.head.class_names == ['cow', 'cat']
    with pytest.raises(ValueError, match=r'absent does not exist.*So there are no class') as error:
        load_config(OWN, data=tmp_path / 'absent')
    assert str(error.value).count('does not exist') == 1  # of both loaders


def flowers(root: Path, count: int) -> None:
    mat4py.savemat(str(root / 'imagelabels.mat'), dict(labels=[*range(1, count + 1)]))
    ids = dict(trnid=[*range(1, count - 1)], valid=[count - 1, count], tstid=[1, 2])
    mat4py.savemat(str(root / 'setid.mat'), ids)


# the file with a line for each image, and the line of an image of a class
OF_MMPRETRAIN = {
    'Food101': ('meta/train.txt', '{name}/1'),
    'Caltech101': ('meta/train.txt', 'x/1.jpg {label}'),
    'SUN397': ('Partitions/Training_01.txt', '/a/{name}/1.jpg'),
    'OxfordIIITPet': ('annotations/trainval.txt', 'x_1 {number} 1 1'),
}


@pytest.mark.parametrize('kind', [*OF_MMPRETRAIN, 'Flowers102'])
def test_class_names_of_mmpretrains_own_sets(tmp_path: Path, kind: str):
    names = getattr(DATASETS.get(kind), 'METAINFO', {}).get('classes')
    settings = dict(type=kind, data_root=str(tmp_path))
    if kind == 'Flowers102':  # has no names
        names = [f'flower {i}' for i in range(102)]
        flowers(tmp_path, len(names))
        with pytest.raises(ValueError, match='Flowers102 has no class names; give them in'):
            load_config(few_shot_config(tmp_path, settings))
        settings['metainfo'] = dict(classes=names)
    else:
        file, line = OF_MMPRETRAIN[kind]
        (tmp_path / file).parent.mkdir()
        lines = [line.format(name=name, label=i, number=i + 1) for i, name in enumerate(names)]
        (tmp_path / file).write_text('\n'.join(reversed(lines)))
    cfg = load_config(few_shot_config(tmp_path, settings))
    assert cfg.model.head.class_names == list(names)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert sorted(dataset.get_gt_labels()) == [*range(len(names))]


def few_shot_config(folder: Path, dataset: dict) -> Path:
    (folder / 'config.py').write_text(f"""
_base_ = {str(DEMO)!r}
train_dataloader = dict(dataset=dict(dataset=dict(_delete_=True, **{dataset!r})))
test_dataloader = dict(dataset=dict(_delete_=True, **{dataset!r}))
model = dict(head=dict(class_names='dataset'))
""")
    return folder / 'config.py'


def test_dataset_for_class_names_is_understood_in_a_config_alone(tmp_path: Path):
    cfg = load_config(few_shot_config(tmp_path, dict(type='DemoScenesDataset')))
    assert cfg.model.head.class_names == list(resolve_class_names('demo_scenes'))
    plain = Config.fromfile(tmp_path / 'config.py').model  # as MMPretrain's tools/train.py
    several = dict(type='MultiTaskHead', task_heads=dict(first=plain.head))
    for model in (plain, {**plain, 'head': several}):
        with pytest.raises(ValueError, match='give the names as a list'):
            MODELS.build(model)

"""MMPretrain's own inferencer on our configs and checkpoints, with no dataset on disk."""

import warnings
from pathlib import Path

import mmcv
import numpy as np
import pytest
from mini_own import OwnRun, train_own
from mini_runs import REPO
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain import ImageClassificationInferencer
from mmpretrain.registry import DATASETS
from PIL import Image

from sotglp_mm.apis import load_config


@pytest.fixture(scope='module')
def own(tiny, tmp_path_factory) -> OwnRun:
    return train_own(tmp_path_factory.mktemp('own'), tiny.clip)


@pytest.fixture
def pillow():
    """The inferencer decodes with MMCV's global backend; training decodes with Pillow."""
    before = mmcv.image.io.imread_backend
    mmcv.use_backend('pillow')
    yield
    mmcv.use_backend(before)


def test_names_come_from_the_checkpoint_and_predictions_are_those_of_testing(own, pillow):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        inferencer = ImageClassificationInferencer(
            str(own.config),
            pretrained=str(own.checkpoint),
            device='cpu',
            head=dict(class_names=str(own.checkpoint)),
        )
        results = inferencer([str(own.images / name) for name in own.expected], batch_size=4)
    names = ('blue whale', 'green frog', 'red fox')
    for found, (path, expected) in zip(results, own.expected.items(), strict=True):
        np.testing.assert_allclose(found['pred_scores'], expected, atol=1e-5)
        assert found['pred_class'] == names[expected.argmax()], path


def test_a_derived_clip_is_taken(own: OwnRun, pillow, tmp_path: Path):
    clip = Config.fromfile(own.config).model.clip.to_dict()
    elsewhere = tmp_path / 'weights.pt'
    elsewhere.write_bytes(Path(clip['pretrained']).read_bytes())
    derived = tmp_path / 'derived.py'
    derived.write_text(
        f'_base_ = {str(own.config)!r}\nmodel = dict(clip=dict(pretrained={str(elsewhere)!r}))\n'
    )
    cfg = load_config(derived, checkpoint=own.checkpoint)
    assert cfg.model.clip.pretrained == str(elsewhere)
    inferencer = ImageClassificationInferencer(cfg, str(own.checkpoint), device='cpu')
    name, expected = next(iter(own.expected.items()))
    found = inferencer(str(own.images / name))[0]
    np.testing.assert_allclose(found['pred_scores'], expected, atol=1e-5)
    assert found['pred_class'] == ('blue whale', 'green frog', 'red fox')[expected.argmax()]


def test_absent_data_says_what_to_do(own: OwnRun):
    with pytest.raises(FileNotFoundError, match=r'head\.class_names=<checkpoint>\.pth'):
        ImageClassificationInferencer(str(own.config), str(own.checkpoint), device='cpu')


def test_several_sets_have_their_pipeline_where_it_is_looked_for(own: OwnRun, pillow):
    cfg = Config.fromfile(own.config)
    pipeline = cfg.test_dataloader.dataset.pop('pipeline')
    sets = dict(mine=cfg.test_dataloader.dataset)
    cfg.test_dataloader.dataset = dict(type='EvaluationSets', sets=sets, pipeline=pipeline)
    cfg.model.head.class_names = str(own.checkpoint)
    inferencer = ImageClassificationInferencer(cfg, str(own.checkpoint), device='cpu')
    name, expected = next(iter(own.expected.items()))
    found = inferencer(str(own.images / name))[0]
    np.testing.assert_allclose(found['pred_scores'], expected, atol=1e-5)
    ours = Config.fromfile(REPO / 'configs' / 'sotglp_vitb16_16shot_ood.py')
    assert ours.test_dataloader.dataset.pipeline == ours.val_dataloader.dataset.pipeline


def test_the_demo_takes_files_of_any_size(tmp_path: Path):
    """Its sets draw 64-pixel images themselves; a file is loaded and brought to that size."""
    cfg = Config.fromfile(REPO / 'configs' / 'sotglp_demo_16shot.py')
    cfg.work_dir = str(tmp_path)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.num_shots = 2
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.default_hooks.checkpoint.interval = 1
    Runner.from_cfg(cfg).train()

    demo = str(REPO / 'configs' / 'sotglp_demo_16shot.py')
    inferencer = ImageClassificationInferencer(demo, str(tmp_path / 'epoch_1.pth'), device='cpu')
    scenes = DATASETS.build(cfg.test_dataloader.dataset)
    scene = DATASETS.build({**cfg.test_dataloader.dataset, 'pipeline': []})[500]['img']
    Image.fromarray(scene[..., ::-1]).save(tmp_path / 'scene.png')
    Image.new('RGB', (300, 90), 'red').save(tmp_path / 'wide.png')
    files = [str(tmp_path / name) for name in ('scene.png', 'wide.png')]
    found = inferencer(files, batch_size=2)
    # a drawn scene passes the same pipeline unchanged
    np.testing.assert_array_equal(
        scenes[500]['inputs'].numpy().transpose(1, 2, 0), scene, strict=True
    )
    assert found[0]['pred_class'] == scenes.metainfo['classes'][found[0]['pred_label']]
    assert found[1]['pred_scores'].sum() == pytest.approx(1, abs=1e-4)

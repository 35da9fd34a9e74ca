"""MMPretrain's own inferencer on our configs and checkpoints, with no dataset on disk."""

import warnings
from pathlib import Path

import mmcv
import numpy as np
import pytest
from mini_own import OwnRun
from mini_pictures import CONFIG, demo_config
from mini_runs import REPO
from mmengine.config import Config
from mmpretrain import ImageClassificationInferencer
from mmpretrain.registry import DATASETS
from PIL import Image

from sotglp_mm.apis import load_config


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


def test_absent_data_says_what_to_do(own: OwnRun):
    with pytest.raises(FileNotFoundError, match=r'head\.class_names=<checkpoint>\.pth'):
        ImageClassificationInferencer(str(own.config), str(own.checkpoint), device='cpu')


def test_a_derived_clip_and_the_pipeline_of_several_sets_are_taken(
    own: OwnRun, pillow, tmp_path: Path
):
    weights, derived = tmp_path / 'weights.pt', tmp_path / 'derived.py'
    weights.write_bytes(Path(Config.fromfile(own.config).model.clip.pretrained).read_bytes())
    clip = f'model = dict(clip=dict(pretrained={str(weights)!r}))'
    derived.write_text(f'_base_ = {str(own.config)!r}\n{clip}\n')
    cfg = load_config(derived, checkpoint=own.checkpoint)
    assert cfg.model.clip.pretrained == str(weights)
    pipeline = cfg.test_dataloader.dataset.pop('pipeline')
    sets = dict(mine=cfg.test_dataloader.dataset)
    cfg.test_dataloader.dataset = dict(type='EvaluationSets', sets=sets, pipeline=pipeline)
    inferencer = ImageClassificationInferencer(cfg, str(own.checkpoint), device='cpu')
    name, expected = next(iter(own.expected.items()))
    found = inferencer(str(own.images / name))[0]
    np.testing.assert_allclose(found['pred_scores'], expected, atol=1e-5)
    assert found['pred_class'] == ('blue whale', 'green frog', 'red fox')[expected.argmax()]
    ours = Config.fromfile(REPO / 'configs' / 'sotglp_vitb16_16shot_ood.py')
    assert ours.test_dataloader.dataset.pipeline == ours.val_dataloader.dataset.pipeline


def test_the_demo_takes_files_of_any_size(demo_checkpoint: Path, tmp_path: Path):
    """Its sets draw 64-pixel images themselves; a file is loaded and brought to that size."""
    inferencer = ImageClassificationInferencer(str(CONFIG), str(demo_checkpoint), device='cpu')
    test = demo_config().test_dataloader.dataset
    scenes, drawn = DATASETS.build(test), DATASETS.build({**test, 'pipeline': []})
    scene = drawn[500]['img']
    Image.fromarray(scene[..., ::-1]).save(tmp_path / 'scene.png')
    Image.new('RGB', (300, 90), 'red').save(tmp_path / 'wide.png')
    files = [str(tmp_path / name) for name in ('scene.png', 'wide.png')]
    found = inferencer(files, batch_size=2)
    # a drawn scene passes the same pipeline unchanged
    pixels = scenes[500]['inputs'].numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(pixels, scene, strict=True)
    assert found[0]['pred_class'] == scenes.metainfo['classes'][found[0]['pred_label']]
    assert found[1]['pred_scores'].sum() == pytest.approx(1, abs=1e-4)

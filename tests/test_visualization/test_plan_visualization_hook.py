"""Which images of an evaluation the hook draws, and where the pictures go."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mini_pictures import demo_config, demo_model, write_checkpoint
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from mmpretrain.structures import DataSample
from PIL import Image

import sotglp_mm.visualization.plan_visualization_hook as room


class MockRun:
    """An evaluation of batches of images, each right or wrong; drawing is replaced."""

    def __init__(self, monkeypatch, model=None, **settings):
        self.hook = HOOKS.build(dict(type='PlanVisualizationHook', **settings))
        self.drawn, self.warned = [], []
        head = SimpleNamespace(allocation=None, local_prompts=())
        self.runner = SimpleNamespace(
            model=model or SimpleNamespace(extract_feat=None, head=head),
            visualizer=SimpleNamespace(add_image=lambda *it: self.drawn.append(it)),
            logger=SimpleNamespace(warning=self.warned.append),
            train_loop=None,
            iter=77,
        )

        def pictures(model, inputs, predictions, classes):
            return [(int(each[0, 0, 0]), classes) for each in inputs]

        monkeypatch.setattr(room, 'pictures_of_batch', pictures)
        monkeypatch.setattr(room, 'draw_plan', lambda picture: picture)

    def evaluate(self, right: str, batch_size: int = 4, phase: str = 'test') -> list[tuple]:
        """``right``: a character an image, 'r' right, 'w' wrong, '?' unknown."""
        self.drawn.clear()
        getattr(self.hook, f'before_{phase}_epoch')(self.runner)
        samples = [self.sample(index, kind) for index, kind in enumerate(right)]
        for number, start in enumerate(range(0, len(samples), batch_size)):
            part = samples[start : start + batch_size]
            inputs = [torch.full((3, 2, 2), start + row) for row in range(len(part))]
            batch = dict(inputs=inputs, data_samples=part)
            getattr(self.hook, f'after_{phase}_iter')(self.runner, number, batch, part)
        return self.drawn

    @staticmethod
    def sample(index: int, kind: str) -> DataSample:
        sample = DataSample().set_pred_label(1)
        sample.set_gt_label([] if kind == '?' else [1 if kind == 'r' else 0])
        sample.set_field(index, 'sample_idx', field_type='metainfo')
        return sample


def test_the_first_images_and_wrong_ones(monkeypatch):
    run = MockRun(monkeypatch, num_images=2, num_wrong=2)
    expected = [
        ('plan_00000', (0, 'both'), 0),
        ('plan_00001', (1, 'both'), 0),
        ('plan_wrong_00005', (5, 'both'), 0),
        ('plan_wrong_00008', (8, 'both'), 0),
    ]
    assert run.evaluate('rwrr?wrrww') == expected
    assert run.evaluate('rwrr?wrrww', batch_size=3) == expected, 'it starts anew'


def test_interval_classes_and_the_step_of_a_validation(monkeypatch):
    run = MockRun(monkeypatch, num_images=3, num_wrong=0, interval=3, classes='true')
    drawn = run.evaluate('w' * 12, batch_size=5, phase='val')
    assert [each[1:] for each in drawn] == [((at, 'true'), 77) for at in (0, 3, 6)]
    monkeypatch.setattr(room, 'is_main_process', lambda: False)
    assert run.evaluate('rw') == []


def test_names_tell_sets_and_files_apart(monkeypatch):
    sample = MockRun.sample(3, 'r')
    sample.set_field('/data/cats/tom 1.jpg', 'img_path', field_type='metainfo')
    sample.set_field('imagenet_v2', 'set_name', field_type='metainfo')
    assert room._name('plan', sample, 0) == 'plan_imagenet_v2_00003_tom 1'


def test_a_model_without_plans_warns_once(monkeypatch):
    wrapped = torch.nn.DataParallel(torch.nn.Sequential())
    wrapped.module.head = torch.nn.Linear(2, 2)
    run = MockRun(monkeypatch, model=wrapped)
    assert run.evaluate('rrrrr', batch_size=1) == []
    (said,) = run.warned
    assert 'draws nothing' in said
    assert 'Linear has no transport plan' in said


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(classes='all'), "classes='all' is not known"),
        (dict(interval=0), 'interval must be at least 1'),
        (dict(num_wrong=-1), 'got 1, 8 and -1'),
    ],
)
def test_bad_settings(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        HOOKS.build(dict(type='PlanVisualizationHook', **settings))


def test_in_a_real_test_run(tmp_path: Path):
    cfg = demo_config()
    cfg.work_dir = str(tmp_path / 'run')
    cfg.load_from = str(write_checkpoint(demo_model(), tmp_path))
    cfg.test_dataloader.update(batch_size=3)
    cfg.test_dataloader.dataset.indices = 7
    cfg.custom_hooks = [dict(type='PlanVisualizationHook', num_images=2, num_wrong=1)]
    cfg.log_level = 'WARNING'
    cfg.experiment_name = f'pictures_{tmp_path.name}'
    Runner.from_cfg(cfg).test()
    files = sorted(tmp_path.glob('run/*/vis_data/vis_image/*.png'))
    names = [file.name for file in files]
    assert names == ['plan_00000_0.png', 'plan_00001_0.png', 'plan_wrong_00002_0.png']
    pixels = np.asarray(Image.open(files[0]))
    assert pixels.shape[2] == 3
    assert (pixels == 255).mean() < 0.8, 'more than an empty page'

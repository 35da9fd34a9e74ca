"""Our parts with MMPretrain's heads, losses and test-time augmentation: each config runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mini_runs import REPO
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.models.losses import LabelSmoothLoss
from mmpretrain.registry import DATASETS, MODELS
from mmpretrain.structures import DataSample
from PIL import Image
from torch.nn.functional import cross_entropy

import sotglp_cli
from sotglp_mm.apis.test import use_test_time_augmentation
from sotglp_mm.demo.datasets import CLASS_NAMES
from sotglp_mm.structures import ImageFeatures

CONFIGS = REPO / 'configs' / 'mixing'
PROMPTS = {'global_prompts', 'local_prompts'}
FC = {'head.fc.weight', 'head.fc.bias'}
OURS = {*(f'head.{name}' for name in PROMPTS), 'neck.local_projection.weight'}
LEARNED = {
    'linear_probe': FC,
    'linear_behind_neck': FC,
    'multi_task': {
        *(name.replace('head.', 'head.task_heads.scene.') for name in OURS),
        *(name.replace('head.', 'head.task_heads.complete.') for name in FC),
    },
    'label_smooth': OURS,
    'test_time_augmentation': OURS,
}
BRANCHES = {'accuracy/top1', 'accuracy_global/top1', 'accuracy_local/top1'}
MEASURED = {
    'linear_probe': {'accuracy/top1', 'accuracy/top5', 'accuracy/mean_class'},
    'linear_behind_neck': {'accuracy/top1', 'accuracy/top5', 'accuracy/mean_class'},
    'multi_task': {*(f'scene_{name}' for name in BRANCHES), 'complete_accuracy/top1'},
    'label_smooth': BRANCHES,
    'test_time_augmentation': BRANCHES,
}


def small(name: str, work_dir: Path) -> Config:
    """A config of mixing, cut down to 4 shots, an epoch and two test images of each class."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.work_dir = str(work_dir)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.default_hooks.checkpoint.interval = 1
    cfg.train_dataloader.dataset.num_shots = 4
    cfg.train_dataloader.batch_size = 16
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.update(split='val', indices=list(range(0, 288, 6)))
    return cfg


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """``trained(name)``: the folder of a run of a config, and what it measured at its end."""
    done = {}

    def run(name: str) -> tuple[Path, dict]:
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            runner = Runner.from_cfg(small(name, folder))
            runner.train()
            done[name] = folder, runner.test()
        return done[name]

    return run


@pytest.mark.parametrize('name', LEARNED)
def test_trains_and_its_checkpoint_measures_the_same(trained, name: str, tmp_path: Path):
    folder, metrics = trained(name)
    assert MEASURED[name] <= set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())
    checkpoint = torch.load(folder / 'epoch_1.pth', weights_only=True)
    weights = {name for name in checkpoint['state_dict'] if not name.endswith('_extra_state')}
    assert weights == LEARNED[name]
    cfg = small(name, tmp_path)
    cfg.load_from = str(folder / 'epoch_1.pth')
    assert Runner.from_cfg(cfg).test() == metrics


def test_predict_names_the_classes_of_a_linear_head(trained, tmp_path, capsys):
    Image.new('RGB', (80, 64), 'red').save(tmp_path / 'red.png')
    assert trained('linear_probe')[1]['accuracy/top1'] > 15, (
        'four shots teach nothing'
    )  # 4: chance
    checkpoint = trained('linear_probe')[0] / 'epoch_1.pth'
    arguments = [str(CONFIGS / 'linear_probe.py'), str(checkpoint), str(tmp_path)]
    assert sotglp_cli.main(['predict', *arguments, '--num-workers', '0']) == 0
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[1] in CLASS_NAMES
    assert sotglp_cli.main(['predict', *arguments, '--ood', 'mcm']) == 2
    assert 'LinearClsHead has no OOD score' in capsys.readouterr().err


def test_two_tasks_have_their_labels():
    cfg = Config.fromfile(CONFIGS / 'multi_task.py')
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    plain = DATASETS.build({**cfg.val_dataloader.dataset, 'pipeline': []})
    complete = []
    for index in range(0, 960, 40):
        item = dataset[index]
        assert set(item) == {'inputs', 'data_samples'}
        assert int(item['data_samples'].scene.gt_label) == index // 40
        complete.append(int(item['data_samples'].complete.gt_label))
        own = [part for part in plain[index]['parts'] if part['of_class']]
        assert complete[-1] == (len(own) == 3)
    assert set(complete) == {0, 1}


def test_each_task_alone_has_the_loss_it_has_in_both():
    """MultiTaskHead picks the images of a task out of the features, by rebuilding the tuple."""
    model = MODELS.build(Config.fromfile(CONFIGS / 'multi_task.py').model)
    head = model.head.task_heads['complete']
    feats = ImageFeatures(torch.randn(3, 64, 128), torch.randn(3, 128))
    dataset = DATASETS.build(Config.fromfile(CONFIGS / 'multi_task.py').val_dataloader.dataset)
    samples = [dataset[index]['data_samples'] for index in range(3)]
    del samples[1].complete
    losses = model.head.loss(feats, samples)
    assert losses['complete_mask_size'] == 2
    assert losses['scene_mask_size'] == 3
    labels = torch.cat([samples[i].complete.gt_label for i in (0, 2)])
    expected = cross_entropy(head.fc(feats.image[[0, 2]]), labels)
    torch.testing.assert_close(losses['complete_loss'], expected)


def test_smoothing_is_of_the_global_branch():
    model = MODELS.build(Config.fromfile(CONFIGS / 'label_smooth.py').model)
    assert isinstance(model.head.loss_module, LabelSmoothLoss)
    feats = model.neck(model.backbone(torch.randn(2, 3, 64, 64)))
    samples = [DataSample().set_gt_label(label) for label in (3, 5)]
    torch.manual_seed(0)  # of prompt dropout
    losses = model.head.loss(feats, samples)
    torch.manual_seed(0)
    text = model.head._encode(model.head.global_prompts)
    logits = model.head.towers.logit_scale * model.head._train_global_scores(feats.image, text)
    expected = cross_entropy(logits, torch.tensor([3, 5]), label_smoothing=0.1)
    torch.testing.assert_close(losses['loss_global'], expected, rtol=1e-4, atol=0)
    plain = MODELS.build(Config.fromfile(REPO / 'configs' / 'sotglp_demo_16shot.py').model).head
    plain.load_state_dict(model.head.state_dict())
    torch.testing.assert_close(losses['loss_local'], plain.loss(feats, samples)['loss_local'])


def test_views_are_averaged(trained, tmp_path: Path):
    """--tta, and what it should be: the mean of the four views' scores, branches included."""
    cfg = small('test_time_augmentation', tmp_path)
    cfg.load_from = str(trained('test_time_augmentation')[0] / 'epoch_1.pth')
    cfg.model.head.ood_methods = ['mcm']
    use_test_time_augmentation(cfg)
    runner = Runner.from_cfg(cfg)
    assert set(runner.test()) >= BRANCHES
    batch = next(iter(runner.test_dataloader))
    assert len(batch['inputs']) == 4
    merged = runner.model.test_step(batch)
    views = [
        runner.model.module.test_step({key: value[i] for key, value in batch.items()})
        for i in range(4)
    ]
    views = [[sample.clone() for sample in view] for view in views]
    for field in ('pred_score', 'pred_score_global', 'pred_score_local', 'ood_mcm'):
        expected = torch.stack([view[0].get(field) for view in views]).mean(dim=0)
        torch.testing.assert_close(merged[0].get(field), expected)
        assert not torch.equal(views[0][0].get(field), views[1][0].get(field))
    for sample in merged:
        assert sample.pred_label == sample.pred_score.argmax()

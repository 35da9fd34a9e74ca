"""A run that would give wrong numbers is stopped, with a sentence."""

import json
import math
import socket
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from mini_runs import REPO
from mini_trust import train, trust_config
from mmengine.config import Config
from mmpretrain.registry import HOOKS
from mmpretrain.structures import DataSample
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

from sotglp_mm.engine import work_dir_lock
from sotglp_mm.models import SOTGLPHead

NAN = float('nan')
STAGES = ('train', 'val', 'test')


def test_every_recipe_has_them():
    cfg = Config.fromfile(REPO / 'configs' / '_base_' / 'default_runtime.py')
    checks = {'ClassNamesCheckHook', 'EmptyEpochHook', 'FiniteLossHook', 'ProcessesCheckHook'}
    assert checks <= {hook.type for hook in cfg.default_hooks.values()}


class Head(nn.Module):
    def __init__(self, class_names):
        super().__init__()
        if class_names is not None:
            self.class_names = class_names


def make_runner(head_names, dataset_names, stage: str = 'train', wrap=lambda model: model):
    model = nn.Module()
    model.head = Head(head_names)
    metainfo = {} if dataset_names is None else {'classes': dataset_names}
    # the other stages' loaders are absent: a hook that looks at the wrong one fails
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo))
    return SimpleNamespace(model=wrap(model), val_loop=None, **{f'{stage}_dataloader': loader})


def check(runner, stage: str = 'train') -> None:
    getattr(HOOKS.build(dict(type='ClassNamesCheckHook')), f'before_{stage}')(runner)


def several_tasks(*names):
    """A model whose head has a task head for each list of names."""

    def wrap(model):
        heads = {f'task{i}': Head(each) for i, each in enumerate(names)}
        model.head = nn.Module()
        model.head.task_heads = nn.ModuleDict(heads)
        return model

    return wrap


def headless(model):
    del model.head
    return model


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize(
    ('ours', 'theirs', 'wrap'),
    [
        (('cat', 'dog'), ['cat', 'dog'], lambda model: model),
        (['grey_cat', 'hot dog'], ('grey cat', 'hot_dog'), nn.DataParallel),  # as in prompts
        (None, ['cat'], lambda model: model),
        (['cat'], None, lambda model: model),
        (['cat'], ['dog'], headless),
        (None, ('cat', 'dog'), several_tasks(None, ('cat', 'dog'))),
        # two lists: the dataset's classes can be those of one of them only
        (None, ('cat', 'dog'), several_tasks(('cat', 'dog'), ('day', 'night'))),
    ],
)
def test_equal_or_unknown_names_pass(stage: str, ours, theirs, wrap):
    runner = make_runner(ours, theirs, stage, wrap)
    check(runner, stage)
    if hasattr(runner.model, 'head'):
        checked = getattr(runner.model.head, 'class_names_checked', False)
        assert checked == (ours is not None and theirs is not None)


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize(
    ('ours', 'theirs', 'wrap', 'message'),
    [
        (['cat', 'dog', 'cow'], ['cat', 'cow', 'dog'], AveragedModel, "1 is 'dog' for the head"),
        (['grey_cat', 'hot-dog'], ('grey cat', 'hot_dog'), nn.DataParallel, "1 is 'hot-dog'"),
        (['cat', 'dog'], ['cat'], AveragedModel, "label 1, 'dog', is known to the head alone"),
        (['cat'], ['cat', 'dog'], AveragedModel, "label 1, 'dog', is known to the dataset alone"),
        (None, ('cat', 'dog'), several_tasks(None, ('cat', 'cow')), "label 1 is 'cow' for"),
    ],
)
def test_the_first_differing_class_is_shown(stage: str, ours, theirs, wrap, message: str):
    with pytest.raises(ValueError, match=rf'{message}.*Set class_names of the head'):
        check(make_runner(ours, theirs, stage, wrap), stage)


def test_the_validation_set_is_checked_before_the_first_step():
    runner = make_runner(('cat', 'dog'), ['cat', 'dog'])
    later = make_runner(('cat', 'dog'), ['dog', 'cat'], 'val')
    runner.val_loop = SimpleNamespace(dataloader=later.val_dataloader)
    with pytest.raises(ValueError, match=r"label 0 is 'cat' for the head and 'dog'"):
        check(runner)


@pytest.mark.parametrize(
    ('images', 'batch_size', 'drop_last', 'message'),
    [(8, 8, True, ''), (5, 8, False, ''), (47, 128, True, '47 images'), (0, 2, False, '0 images')],
)
def test_an_empty_epoch_stops_the_run(images: int, batch_size: int, drop_last: bool, message: str):
    dataset = TensorDataset(torch.zeros(images, 1))
    # torch's shuffling sampler refuses an empty dataset by itself
    loader = DataLoader(
        dataset, batch_size, sampler=SequentialSampler(dataset), drop_last=drop_last
    )
    hook = HOOKS.build(dict(type='EmptyEpochHook'))
    message = rf'{message}.* of {batch_size}, and drop_last={drop_last}' if message else None
    with pytest.raises(ValueError, match=message) if message else nullcontext():
        hook.before_train(SimpleNamespace(train_dataloader=loader))


class Model(nn.Module):
    def __init__(self, learn: bool):
        super().__init__()
        self.prompts = nn.Parameter(torch.zeros(3, 4, 100), requires_grad=learn)
        self.frozen = nn.Parameter(torch.zeros(7), requires_grad=False)


@pytest.mark.parametrize('wrap', [lambda m: m, nn.DataParallel], ids=['bare', 'wrapped'])
def test_learned_parameters_are_logged(wrap):
    runner = SimpleNamespace(model=wrap(Model(learn=True)), logger=Mock())
    HOOKS.build(dict(type='LearnedParametersHook')).before_train(runner)
    text = runner.logger.info.call_args.args[0]
    assert text.splitlines() == [
        'Learning 1,200 parameters; CLIP is frozen',
        '  prompts (3, 4, 100): 1,200',
    ]
    runner.model = wrap(Model(learn=False))
    with pytest.raises(ValueError, match=r'Nothing learns in this run.*neck\.learn=True'):
        HOOKS.build(dict(type='LearnedParametersHook')).before_train(runner)


def step(losses: dict, samples: list | None = None) -> None:
    hook = HOOKS.build(dict(type='FiniteLossHook'))
    outputs = {name: torch.tensor(value) for name, value in losses.items()}
    batch = dict(inputs=None, data_samples=samples)
    hook.after_train_iter(SimpleNamespace(iter=41, epoch=2), 7, batch, outputs)


def samples(count: int, **info) -> list[DataSample]:
    return [DataSample(metainfo=dict(sample_idx=i, **info)) for i in range(count)]


@pytest.mark.parametrize('bad', [NAN, math.inf, -math.inf])
def test_the_bad_term_is_named_with_its_value(bad: float):
    step(dict(loss=1.0, loss_local=0.0, accuracy=bad))  # not a loss
    step({})
    with pytest.raises(ValueError, match=r'iteration 42 \(epoch 3, batch 8\)') as told:
        step(dict(loss=bad, loss_global=1.5, loss_local=bad))
    assert f'loss={bad:g}, loss_local={bad:g}; finite: loss_global=1.5.' in str(told.value)
    assert 'unknown images' in str(told.value)


def test_at_most_ten_images_and_their_number():
    with pytest.raises(ValueError, match='The batch: 12 images: sample_idx 0, ') as told:
        step(dict(loss=NAN), samples(12))
    assert 'sample_idx 9 and 2 more.' in str(told.value)
    with pytest.raises(ValueError, match=r'The batch: 1 images: /data/a\.jpg\.'):
        step(dict(loss=NAN), samples(1, img_path='/data/a.jpg'))


def test_weights_that_are_not_finite_are_not_written():
    hook = HOOKS.build(dict(type='FiniteLossHook'))
    state = dict(good=torch.ones(2), steps=torch.tensor(3), prompts=torch.tensor([0.0, NAN]))
    with pytest.raises(ValueError, match='No checkpoint is written at iteration 42: prompts hold'):
        hook.before_save_checkpoint(SimpleNamespace(iter=41), dict(state_dict=state))
    del state['prompts']
    hook.before_save_checkpoint(SimpleNamespace(iter=41), dict(state_dict=state))


def test_a_planted_nan_stops_a_run(tiny, tmp_path: Path, monkeypatch):
    config = trust_config(tmp_path, tiny.clip)
    loss, calls = SOTGLPHead.loss, []

    def planted(self, *args, **kwargs):
        losses = loss(self, *args, **kwargs)
        calls.append(1)
        return {**losses, 'loss_local': losses['loss_local'] * (NAN if len(calls) == 5 else 1)}

    monkeypatch.setattr(SOTGLPHead, 'loss', planted)
    message = r'iteration 5 \(epoch 2, batch 2\): .*loss_local=nan'
    with pytest.raises(ValueError, match=message) as told:
        train(config, tmp_path / 'run')
    assert '; finite: loss_global=' in str(told.value)
    assert str(told.value).count('.jpg') == 4  # the batch
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()
    assert not (tmp_path / 'run' / 'epoch_2.pth').exists()


def test_a_second_run_in_a_work_dir_is_refused_and_a_dead_ones_lock_is_not_in_the_way(tmp_path):
    folder = tmp_path / 'run'
    for _ in range(2):
        with work_dir_lock(folder):
            owner = json.loads((folder / '.lock_owner.json').read_text())
            who = f'process {owner["pid"]} on {socket.gethostname()} is training there'
            message = f'run is in use: {who}.*another --work-dir'
            with pytest.raises(RuntimeError, match=message), work_dir_lock(folder):
                pass
        (folder / '.lock_owner.json').write_text('{"host": "gone", "pid": 1}')  # it was killed

"""A loss that is not finite stops the run, and says where it happened."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mini_runs import REPO
from mini_trust import train, trust_config
from mmengine.config import Config
from mmpretrain.registry import HOOKS
from mmpretrain.structures import DataSample

from sotglp_mm.models import SOTGLPHead

NAN = float('nan')


def step(losses: dict, samples: list | None = None) -> None:
    hook = HOOKS.build(dict(type='FiniteLossHook'))
    outputs = {name: torch.tensor(value) for name, value in losses.items()}
    batch = dict(inputs=None, data_samples=samples)
    hook.after_train_iter(SimpleNamespace(iter=41, epoch=2), 7, batch, outputs)


def samples(count: int, **info) -> list[DataSample]:
    return [DataSample(metainfo=dict(sample_idx=i, **info)) for i in range(count)]


def test_finite_losses_pass():
    step(dict(loss=1.0, loss_local=0.0, accuracy=NAN))  # not a loss
    step({})


@pytest.mark.parametrize('bad', [NAN, math.inf, -math.inf])
def test_the_bad_term_is_named_with_its_value(bad: float):
    with pytest.raises(ValueError, match=r'iteration 42 \(epoch 3, batch 8\)') as told:
        step(dict(loss=bad, loss_global=1.5, loss_local=bad))
    assert f'loss={bad:g}, loss_local={bad:g}; finite: loss_global=1.5.' in str(told.value)
    assert 'unknown images' in str(told.value)
    assert 'optim_wrapper.optimizer.lr' in str(told.value)


def test_at_most_ten_images_and_their_number():
    with pytest.raises(ValueError, match='The batch: 12 images: sample_idx 0, ') as told:
        step(dict(loss=NAN), samples(12))
    assert 'sample_idx 9 and 2 more.' in str(told.value)
    with pytest.raises(ValueError, match=r'The batch: 1 images: /data/a\.jpg\.'):
        step(dict(loss=NAN), samples(1, img_path='/data/a.jpg'))


def test_one_synchronisation_for_each_iteration(monkeypatch):
    asked = []
    truth = torch.Tensor.__bool__
    monkeypatch.setattr(torch.Tensor, '__bool__', lambda t: asked.append(t) or truth(t))
    step(dict(loss=1.0, loss_global=0.5, loss_local=0.5))
    assert len(asked) == 1


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


def test_every_recipe_has_it():
    cfg = Config.fromfile(REPO / 'configs' / '_base_' / 'default_runtime.py')
    assert 'FiniteLossHook' in [hook.type for hook in cfg.default_hooks.values()]

"""A run killed around a validation ends with every metric, and with the best checkpoint."""

from pathlib import Path
from typing import Any

import pytest
from mini_trust import EPOCHS, metrics, train, trust_config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

MONITORED = 'accuracy_local/top1'
BEST = dict(default_hooks__checkpoint__save_best=MONITORED)
KILLED = 2
"""Epoch around whose validation runs are killed."""


class Killed(Exception):
    """Where a process would have been killed."""


@HOOKS.register_module()
class KilledHook(Hook):
    """Ends a run around the validation of an epoch."""

    def __init__(self, where: str) -> None:
        self.where = where

    def _end(self, where: str, runner: Runner) -> None:
        if where == self.where and runner.epoch == KILLED:
            raise Killed

    def before_val_epoch(self, runner: Runner) -> None:
        self._end('before', runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._end('after', runner)


@pytest.fixture(scope='module')
def config(tiny, tmp_path_factory) -> Path:
    return trust_config(tmp_path_factory.mktemp('validation'), tiny.clip)


@pytest.fixture(scope='module')
def whole(config: Path) -> Path:
    """Work dir of an undisturbed run."""
    return train(config, config.parent / 'whole', **BEST)


def best(work_dir: Path) -> list[str]:
    return sorted(file.name for file in work_dir.glob('best_*'))


def killed(config: Path, work_dir: Path, where: str, **options) -> str:
    """Train until it is killed; the checkpoint to resume from."""
    with pytest.raises(Killed):
        train(config, work_dir, custom_hooks=[dict(type='KilledHook', where=where)], **options)
    assert not (work_dir / f'epoch_{KILLED + 1}.pth').exists()
    return str(work_dir / f'epoch_{KILLED}.pth')


@pytest.mark.parametrize('where', ['before', 'after'])
def test_metrics_and_best_are_those_of_the_undisturbed_run(config: Path, whole: Path, where: str):
    work_dir = config.parent / where
    latest = killed(config, work_dir, where, **BEST)
    assert (KILLED in metrics(work_dir)) is (where == 'after')
    train(config, work_dir, resume=True, load_from=latest, **BEST)
    assert metrics(work_dir) == metrics(whole)
    assert list(metrics(whole)) == [*range(1, EPOCHS + 1)]
    assert best(work_dir) == best(whole)


def test_the_killed_epoch_is_the_best_one(whole: Path):
    """Who misses its validation takes the next epoch, which is as good, for the best."""
    course = [row[MONITORED] for row in metrics(whole).values()]
    assert max(course[: KILLED - 1]) < course[KILLED - 1] == max(course)
    assert best(whole) == [f'best_{MONITORED.replace("/", "_")}_epoch_{KILLED}.pth']


def test_a_run_killed_before_its_last_validation_gets_it(config: Path, whole: Path):
    last = dict(train_cfg__max_epochs=KILLED)
    work_dir = config.parent / 'last'
    latest = killed(config, work_dir, 'before', **last)
    assert KILLED not in metrics(work_dir)
    train(config, work_dir, resume=True, load_from=latest, **last)
    assert metrics(work_dir)[KILLED] == metrics(whole)[KILLED]


@pytest.mark.parametrize(
    'changed', [dict(train_cfg__val_interval=3), dict(train_cfg__val_begin=3)], ids=str
)
def test_an_epoch_that_is_not_to_be_validated_is_not(config: Path, whole: Path, changed: dict):
    work_dir = config.parent / f'other {changed}'.translate(str.maketrans("':{}", '    '))
    latest = str(whole / f'epoch_{KILLED}.pth')
    train(config, work_dir, resume=True, load_from=latest, **changed)
    assert list(metrics(work_dir)) == [3, 4]


def test_parameters_from_the_middle_of_an_epoch_are_not_validated_as_its_end(config: Path):
    every_two = dict(
        default_hooks__checkpoint__by_epoch=False, default_hooks__checkpoint__interval=2
    )
    work_dir = config.parent / 'middle'
    train(config, work_dir, train_cfg__max_epochs=2, **every_two)
    before = metrics(work_dir)
    middle = str(work_dir / 'iter_4.pth')
    again = train(config, config.parent / 'again', resume=True, load_from=middle, **every_two)
    assert list(before) == [1, 2]
    assert 1 not in metrics(again)

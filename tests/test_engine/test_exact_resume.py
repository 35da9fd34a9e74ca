"""A resumed run is the undisturbed run, bit for bit; settings that changed are named."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mini_runs import CLASSES, run_tool
from mini_trust import EPOCHS, assert_equal, learned, losses, metrics, train, trust_config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from sotglp_mm.engine.exact_resume import random_states

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
    return trust_config(tmp_path_factory.mktemp('trust'), tiny.clip)


@pytest.fixture(scope='module')
def whole(config: Path) -> Path:
    """Work dir of an undisturbed run without workers."""
    work_dir = train(config, config.parent / 'whole', **BEST)
    # something is random
    assert len({row['loss'] for row in losses(work_dir).values()}) == 3 * EPOCHS
    # a run that misses the killed epoch's validation would take the next epoch, which is as good
    course = [row[MONITORED] for row in metrics(work_dir).values()]
    assert max(course[: KILLED - 1]) < course[KILLED - 1] == max(course)
    assert best(work_dir) == [f'best_{MONITORED.replace("/", "_")}_epoch_{KILLED}.pth']
    return work_dir


def log_of(work_dir: Path) -> str:
    return '\n'.join(file.read_text() for file in work_dir.glob('*/*.log'))


def killed(config: Path, work_dir: Path, where: str, **options) -> str:
    """Train until it is killed; the checkpoint to resume from."""
    with pytest.raises(Killed):
        train(config, work_dir, custom_hooks=[dict(type='KilledHook', where=where)], **options)
    assert not (work_dir / f'epoch_{KILLED + 1}.pth').exists()
    return str(work_dir / f'epoch_{KILLED}.pth')


def best(work_dir: Path) -> list[str]:
    return sorted(file.name for file in work_dir.glob('best_*'))


@pytest.mark.parametrize(('where', 'workers'), [('before', 0), ('after', 1)])
def test_resumed_is_undisturbed(config: Path, whole: Path, where: str, workers: int):
    loader = dict(
        train_dataloader__num_workers=workers, train_dataloader__persistent_workers=workers > 0
    )
    work_dir = config.parent / where
    latest = killed(config, work_dir, where, **BEST, **loader)
    assert (KILLED in metrics(work_dir)) is (where == 'after')
    train(config, work_dir, resume=True, load_from=latest, custom_hooks=[], **BEST, **loader)
    last = f'epoch_{EPOCHS}.pth'
    assert_equal(learned(work_dir / last), learned(whole / last))
    assert losses(work_dir) == losses(whole)
    assert metrics(work_dir) == metrics(whole)
    assert list(metrics(whole)) == [*range(1, EPOCHS + 1)]
    assert best(work_dir) == best(whole)
    only = "custom_hooks.0.type: 'KilledHook' before, absent now"
    assert only in log_of(work_dir)
    assert 'workers' not in log_of(work_dir).partition('with other settings')[2].split('Config')[0]


def test_neither_workers_nor_validation_matter(config: Path, whole: Path):
    work_dir = train(
        config,
        config.parent / 'workers',
        train_dataloader__num_workers=2,
        train_dataloader__persistent_workers=True,
        train_cfg__val_interval=3,
    )
    assert losses(work_dir) == losses(whole)


def test_longer_training_has_the_schedule_of_the_new_config(config: Path):
    """Two epochs, then --resume with four: the rates from then on are those of a run of four."""
    cosine = dict(type='CosineAnnealingLR', by_epoch=True, eta_min=0)
    warm = dict(type='LinearLR', by_epoch=False, start_factor=0.1, end=4)
    free = dict(param_scheduler=[warm, cosine])
    expected = losses(train(config, config.parent / 'four', **free))
    work_dir = train(config, config.parent / 'longer', train_cfg__max_epochs=2, **free)
    latest = str(work_dir / 'epoch_2.pth')
    train(config, work_dir, resume=True, load_from=latest, **free)
    rates = {step: row['lr'] for step, row in losses(work_dir).items() if step > 6}
    assert rates == {step: row['lr'] for step, row in expected.items() if step > 6}
    assert 0 < rates[12] < rates[7] < 0.002
    assert 'train_cfg.max_epochs: 2 before, 4 now' in log_of(work_dir)


def test_settings_of_the_optimiser_are_the_configs_and_named(config: Path, whole: Path):
    options = dict(
        optim_wrapper__optimizer__lr=0.004,
        optim_wrapper__optimizer__weight_decay=0.5,
        optim_wrapper__optimizer__momentum=0.5,
        train_dataloader__batch_size=3,
        train_dataloader__dataset__num_shots=3,
    )
    work_dir = config.parent / 'changed'
    work_dir.mkdir()
    (work_dir / 'few_shot_files.json').write_bytes((whole / 'few_shot_files.json').read_bytes())
    latest = str(whole / 'epoch_2.pth')
    train(config, work_dir, resume=True, load_from=latest, **options)
    group = torch.load(work_dir / 'epoch_4.pth', weights_only=True)['optimizer']['param_groups'][0]
    assert (group['initial_lr'], group['weight_decay'], group['momentum']) == (0.004, 0.5, 0.5)
    assert losses(work_dir)[min(losses(work_dir))]['lr'] == pytest.approx(0.002)  # half the cosine
    log = log_of(work_dir)
    for line in (
        'optim_wrapper.optimizer.lr: 0.002 before, 0.004 now',
        'train_dataloader.batch_size: 4 before, 3 now',
        'train_dataloader.dataset.num_shots: 4 before, 3 now',
        'Up to epoch 2 this run learned from other few-shot images',
    ):
        assert line in log, line
    kept = work_dir / 'few_shot_files.epoch_2.json'
    assert kept.read_bytes() == (whole / 'few_shot_files.json').read_bytes()


def test_a_schedule_in_iterations_follows_another_batch_size(config: Path, whole: Path):
    """Three steps an epoch before, two now: epoch 3 has the rates that it has with two."""
    cosine = dict(type='CosineAnnealingLR', by_epoch=True, eta_min=0, convert_to_iter_based=True)
    now = dict(param_scheduler=cosine, train_dataloader__batch_size=6)
    expected = losses(train(config, config.parent / 'two_steps', **now))
    work_dir, latest = config.parent / 'then_two_steps', str(whole / 'epoch_2.pth')
    train(config, work_dir, resume=True, load_from=latest, **now)
    rates = [row['lr'] for row in losses(work_dir).values()]
    assert rates == [expected[step]['lr'] for step in range(5, 9)]


def test_classes_in_another_order_do_not_resume(config: Path, whole: Path, tmp_path: Path):
    """Their prompts would be matched by name, and their momentum would not."""
    options = dict(
        model__head__class_names=[*reversed(CLASSES)],
        default_hooks__class_names=None,  # the dataset has the first order
        load_from=str(whole / 'epoch_2.pth'),
    )
    with pytest.raises(ValueError, match=r"cannot resume .*: label 0 is 'banded' for the check"):
        train(config, tmp_path / 'run', resume=True, **options)
    assert not list((tmp_path / 'run').glob('*.pth'))
    train(config, tmp_path / 'new', train_cfg__max_epochs=1, **options)  # weights alone


def test_without_the_states_resuming_is_another_run(config: Path, whole: Path):
    """The tests above can fail: what the hook restores does matter."""
    work_dir = config.parent / 'forgetful'
    content = torch.load(whole / 'epoch_2.pth', weights_only=True)
    del content['random_states']
    work_dir.mkdir()
    torch.save(content, work_dir / 'old.pth')
    train(config, work_dir, resume=True, load_from=str(work_dir / 'old.pth'))
    assert 'holds no states of the random generators' in log_of(work_dir)
    assert losses(work_dir)[7] != losses(whole)[7]


def test_weights_alone_do_not_bring_their_random_states_along(whole: Path):
    """``load_from`` without ``resume`` begins a new run: it takes no states."""
    hook = HOOKS.build(dict(type='RandomStateHook'))
    hook.after_load_checkpoint(None, torch.load(whole / 'epoch_2.pth', weights_only=True))
    before = random_states()
    runner = SimpleNamespace(iter=0)
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    hook.before_train_iter(runner, batch_idx=0)
    assert_equal(random_states(), before)


def test_another_number_of_processes_is_named(whole: Path):
    hook = HOOKS.build(dict(type='RandomStateHook'))
    content = torch.load(whole / 'epoch_2.pth', weights_only=True)
    content['random_states']['processes'] *= 2
    hook.after_load_checkpoint(None, content)
    told = []
    logger = SimpleNamespace(warning=told.append)
    hook.before_train(SimpleNamespace(iter=6, logger=logger))
    assert 'was written by 2 processes, this run has 1' in told[0]


def test_a_seed_that_was_drawn_is_kept():
    """With ``randomness.seed=None`` every start draws a sampler seed; the first one counts."""
    hook = HOOKS.build(dict(type='RandomStateHook'))
    sampler = SimpleNamespace(seed=123)
    runner = SimpleNamespace(iter=0, train_dataloader=SimpleNamespace(sampler=sampler))
    hook.before_train_epoch(runner)
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    sampler.seed = 456
    runner.iter = 3
    resumed = HOOKS.build(dict(type='RandomStateHook'))
    resumed.after_load_checkpoint(runner, checkpoint)
    resumed.before_train(runner)
    assert sampler.seed == 123


def test_what_is_not_the_end_of_an_epoch_or_not_to_be_validated_is_not(config: Path, whole: Path):
    every_two = dict(
        default_hooks__checkpoint__by_epoch=False, default_hooks__checkpoint__interval=2
    )
    middle = train(config, config.parent / 'middle', train_cfg__max_epochs=2, **every_two)
    for number, (checkpoint, changed, validated) in enumerate(
        [
            (middle / 'iter_4.pth', every_two, [2, 3, 4]),
            (whole / f'epoch_{KILLED}.pth', dict(train_cfg__val_interval=3), [3, 4]),
            (whole / f'epoch_{KILLED}.pth', dict(train_cfg__val_begin=3), [3, 4]),
        ]
    ):
        work_dir = config.parent / f'again_{number}'
        train(config, work_dir, resume=True, load_from=str(checkpoint), **changed)
        assert list(metrics(work_dir)) == validated


def test_two_kills(tmp_path: Path):
    """``tests/kill_runs.py``, with few of them."""
    flags = ['--kills', 2, '--epochs', 6, '--folder', tmp_path]
    done = run_tool(['../tests/kill_runs.py', *flags], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert re.match(r'2 kills in \d+ runs, [12] of them while a file was written', last)

"""A resumed run is the undisturbed run, bit for bit, with any number of workers."""

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mini_trust import EPOCHS, assert_equal, learned, losses, metrics, train, trust_config
from mmpretrain.registry import HOOKS

from sotglp_mm.engine.random_states import random_states, set_random_states


@pytest.fixture(scope='module')
def config(tiny, tmp_path_factory) -> Path:
    return trust_config(tmp_path_factory.mktemp('trust'), tiny.clip)


@pytest.fixture(scope='module')
def whole(config: Path) -> Path:
    """Work dir of an undisturbed run without workers."""
    return train(config, config.parent / 'whole')


def test_something_is_random(whole: Path):
    logged = losses(whole)
    assert len(logged) == 3 * EPOCHS
    assert len({row['loss'] for row in logged.values()}) == 3 * EPOCHS


@pytest.mark.parametrize('workers', [0, 1])
def test_resumed_is_undisturbed(config: Path, whole: Path, workers: int):
    work_dir = config.parent / f'resumed_{workers}'
    loader = dict(
        train_dataloader__num_workers=workers, train_dataloader__persistent_workers=workers > 0
    )
    train(config, work_dir, train_cfg__max_epochs=2, **loader)
    assert not (work_dir / f'epoch_{EPOCHS}.pth').exists()
    latest = str(work_dir / 'epoch_2.pth')
    train(config, work_dir, resume=True, load_from=latest, **loader)
    last = f'epoch_{EPOCHS}.pth'
    assert_equal(learned(work_dir / last), learned(whole / last))
    assert losses(work_dir) == losses(whole)
    assert metrics(work_dir) == metrics(whole)
    assert len(metrics(whole)) == EPOCHS


def test_neither_workers_nor_validation_matter(config: Path, whole: Path):
    work_dir = train(
        config,
        config.parent / 'workers',
        train_dataloader__num_workers=2,
        train_dataloader__persistent_workers=True,
        train_cfg__val_interval=3,
    )
    assert losses(work_dir) == losses(whole)


def test_without_the_states_resuming_is_another_run(config: Path, whole: Path):
    """The tests above can fail: what the hook restores does matter."""
    work_dir = config.parent / 'forgetful'
    content = torch.load(whole / 'epoch_2.pth', weights_only=True)
    del content['random_states']
    work_dir.mkdir()
    torch.save(content, work_dir / 'old.pth')
    train(config, work_dir, resume=True, load_from=str(work_dir / 'old.pth'))
    log = '\n'.join(file.read_text() for file in work_dir.glob('*/*.log'))
    assert 'holds no states of the random generators' in log
    rows, expected = losses(work_dir), losses(whole)
    assert rows[7] != expected[7]


def test_weights_alone_do_not_bring_their_chance_along(config: Path, whole: Path):
    """``load_from`` without ``resume`` begins a new run: it takes no states."""
    hook = HOOKS.build(dict(type='RandomStateHook'))
    hook.after_load_checkpoint(None, torch.load(whole / 'epoch_2.pth', weights_only=True))
    before = random_states()
    runner = SimpleNamespace(iter=0)
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    hook.before_train_iter(runner, batch_idx=0)
    assert_equal(random_states(), before)


def test_another_number_of_processes_is_told(whole: Path):
    hook = HOOKS.build(dict(type='RandomStateHook'))
    content = torch.load(whole / 'epoch_2.pth', weights_only=True)
    content['random_states']['processes'] *= 2
    hook.after_load_checkpoint(None, content)
    told = []
    logger = SimpleNamespace(warning=told.append)
    hook.before_train(SimpleNamespace(iter=6, logger=logger))
    assert 'was written by 2 processes, this run has 1' in told[0]


def test_states_survive_safe_loading(tmp_path: Path):
    random.gauss(0, 1), np.random.randn()  # both keep half of a pair
    torch.save(random_states(), tmp_path / 'states.pth')

    def draw() -> tuple:
        numbers = random.gauss(0, 1), random.random(), np.random.randn(), np.random.rand()
        return *numbers, torch.rand(3).tolist()

    first = draw()
    assert draw() != first
    set_random_states(torch.load(tmp_path / 'states.pth', weights_only=True))
    assert draw() == first


def test_an_initial_seed_of_chance_is_kept():
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

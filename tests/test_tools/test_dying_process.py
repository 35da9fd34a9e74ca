"""One of two processes dies or hangs: the other stops soon, and says so; the run can go on."""

import time
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from mini_runs import REPO, run_tool, write_config, write_images
from mini_trust import assert_equal, learned, losses


@pytest.fixture(scope='module')
def config(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('dying')
    write_images(folder / 'dtd')
    base = write_config(folder / 'mini.py', tiny.clip, image_size=48)
    config = folder / 'dying.py'
    config.write_text(f"""
_base_ = {str(base)!r}
custom_imports = dict(imports=['sotglp_mm', 'dying_process'], allow_failed_imports=False)
custom_hooks = [
    dict(type='DyingProcessHook', way='raise'), dict(type='RandomStateHook'),
    dict(type='PlainCheckpointHook')]
model = dict(head=dict(num_global_prompts=3, prompt_dropout=0.5))
train_dataloader = dict(batch_size=2, num_workers=0)
""")
    return config


def run_two(config: Path, work_dir: Path, way: str, monkeypatch, *more) -> CompletedProcess:
    """Train in two processes; the second one ends in a way of ``DyingProcessHook``."""
    monkeypatch.setenv('PYTHONPATH', f'{REPO}:{REPO / "tests"}')
    flags = ['--work-dir', work_dir, '--no-validate', *more, '--cfg-options']
    flags += [f'custom_hooks.0.way={way}', 'env_cfg.dist_cfg.timeout=10']
    return run_tool([config, 2, *flags], config.parent, script='dist_train.sh')


@pytest.mark.parametrize(
    ('way', 'message'),
    [
        ('raise', 'planted: the disk of this machine is gone'),
        ('kill', 'Signal 9 (SIGKILL)'),
        ('hang', 'has not answered for longer than env_cfg.dist_cfg.timeout'),
    ],
)
def test_the_other_process_stops(config: Path, monkeypatch, way: str, message: str):
    work_dir = config.parent / way
    done = run_two(config, work_dir, way, monkeypatch)
    assert time.time() - float((work_dir / 'ended').read_text()) < 60
    assert done.returncode != 0
    assert message in done.stderr
    assert [file.name for file in work_dir.glob('*.pth')] == ['epoch_1.pth']


def test_a_killed_run_of_two_goes_on_as_if_nothing_had_happened(config: Path, monkeypatch):
    work_dir, whole = config.parent / 'kill', config.parent / 'live'
    assert (work_dir / 'epoch_1.pth').is_file()  # of the test above
    done = run_two(config, work_dir, 'live', monkeypatch, '--resume')
    assert done.returncode == 0, done.stderr
    done = run_two(config, whole, 'live', monkeypatch)
    assert done.returncode == 0, done.stderr
    states = learned(whole / 'epoch_2.pth')
    assert len(states['random_states']['processes']) == 2
    assert_equal(learned(work_dir / 'epoch_2.pth'), states)
    assert losses(work_dir) == losses(whole)

"""A process dies or hangs: the others stop within a minute, and say why."""

import json
import signal
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch.distributed as dist
from lost_work import LOST, STEPS, TIMEOUT, work
from mini_runs import REPO, run_tool
from mini_trust import assert_equal, learned, losses, trust_config
from process_group import start_processes

from sotglp_mm.engine import explaining_lost_process

WORLD = 3


@pytest.mark.parametrize('way', ['die', 'hang'])
@pytest.mark.parametrize('step', STEPS)
def test_the_others_stop(tmp_path, step: str, way: str):
    processes = start_processes(work, WORLD, str(tmp_path), step, way)
    for process in processes:
        process.join(timeout=60)
    codes = [process.exitcode for process in processes]
    assert codes == [0, -signal.SIGKILL if way == 'die' else 0, 0]
    for rank in {0, 1, 2} - {LOST}:
        said = json.loads((tmp_path / f'{rank}.json').read_text())
        assert said['message'].startswith(
            f'process {rank} of {WORLD} stops: another one ended, or has not answered for longer '
            'than env_cfg.dist_cfg.timeout seconds. The cause is the first error in the output'
        )
        assert said['seconds'] < (10 if way == 'die' else TIMEOUT + 10)


@pytest.mark.parametrize('message', ['gloo: connection closed', 'mat1 and mat2 do not fit'])
def test_without_other_processes_an_error_is_left_alone(message: str):
    assert not dist.is_initialized()
    with pytest.raises(RuntimeError) as error, explaining_lost_process():
        raise RuntimeError(message)
    assert str(error.value) == message


def run_two(config: Path, work_dir: Path, way: str, *more) -> CompletedProcess:
    """Train in two processes; the second one ends in a way of ``DyingProcessHook``."""
    flags = ['--work-dir', work_dir, '--no-validate', *more, '--cfg-options']
    flags += [
        f'custom_hooks.0.way={way}',
        f'env_cfg.dist_cfg.timeout={9 if way == "hang" else 300}',
    ]
    return run_tool(['train.py', config, *flags], config.parent, world=2)


def test_the_other_process_stops_and_the_run_goes_on(tiny, tmp_path: Path, monkeypatch):
    base = trust_config(tmp_path, tiny.clip, epochs=2)
    config = tmp_path / 'dying.py'
    config.write_text(f"""
_base_ = {str(base)!r}
custom_imports = dict(imports=['sotglp_mm', 'lost_work'], allow_failed_imports=False)
custom_hooks = [
    dict(type='DyingProcessHook', way='hang'), dict(type='RandomStateHook'),
    dict(type='PlainCheckpointHook')]
train_dataloader = dict(batch_size=2)
""")
    monkeypatch.setenv('PYTHONPATH', f'{REPO}:{REPO / "tests"}')
    work_dir, whole = tmp_path / 'hang', tmp_path / 'live'
    done = run_two(config, work_dir, 'hang')
    assert done.returncode != 0
    assert 'has not answered for longer than env_cfg.dist_cfg.timeout' in done.stderr
    assert [file.name for file in work_dir.glob('*.pth')] == ['epoch_1.pth']
    for folder, flags in ((work_dir, ['--resume']), (whole, [])):
        done = run_two(config, folder, 'live', *flags)
        assert done.returncode == 0, done.stderr
    states = learned(whole / 'epoch_2.pth')
    assert len(states['random_states']['processes']) == 2
    assert_equal(learned(work_dir / 'epoch_2.pth'), states)
    assert losses(work_dir) == losses(whole)

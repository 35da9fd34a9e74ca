"""One of two processes hangs: the other stops soon, and says so; the run can go on."""

from pathlib import Path
from subprocess import CompletedProcess

from mini_runs import REPO, run_tool
from mini_trust import assert_equal, learned, losses, trust_config


def run_two(config: Path, work_dir: Path, way: str, *more) -> CompletedProcess:
    """Train in two processes; the second one ends in a way of ``DyingProcessHook``."""
    flags = ['--work-dir', work_dir, '--no-validate', *more, '--cfg-options']
    flags += [
        f'custom_hooks.0.way={way}',
        f'env_cfg.dist_cfg.timeout={9 if way == "hang" else 300}',
    ]
    return run_tool(['train.py', config, *flags], config.parent, world=2)


def test_the_other_process_stops_and_the_run_goes_on(tiny, tmp_path: Path, monkeypatch):
    """A process that dies: ``test_engine/test_lost_process.py``."""
    base = trust_config(tmp_path, tiny.clip, epochs=2)
    config = tmp_path / 'dying.py'
    config.write_text(f"""
_base_ = {str(base)!r}
custom_imports = dict(imports=['sotglp_mm', 'dying_process'], allow_failed_imports=False)
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

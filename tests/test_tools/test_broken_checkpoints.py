"""The command lines name a checkpoint that cannot be used, and skip a broken one to resume."""

from pathlib import Path

import pytest
import torch
from mini_checkpoints import truncate, write_checkpoint
from mini_runs import REPO, run_tool, write_config, write_images

CONFIG = REPO / 'configs' / 'sotglp_demo_16shot.py'


@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'predict.py', 'visualize_plan.py'])
def test_a_truncated_checkpoint_is_named(tmp_path: Path, tool: str):
    broken = truncate(write_checkpoint(tmp_path / 'epoch_2.pth'))
    picture = next((REPO / 'docs' / 'pictures').glob('*.png'))
    rest = {
        'train.py': ['--resume', broken, '--work-dir', tmp_path],
        'test.py': [broken, '--work-dir', tmp_path],
        'predict.py': [broken, picture],
        'visualize_plan.py': [broken, picture, '--out-dir', tmp_path],
    }
    done = run_tool([tool, CONFIG, *rest[tool]], tmp_path)
    assert done.returncode != 0
    assert f'{broken} cannot be read as a checkpoint' in done.stderr
    assert 'Take an earlier one' in done.stderr


def test_training_starts_from_no_broken_or_foreign_weights(tmp_path: Path):
    broken = truncate(write_checkpoint(tmp_path / 'epoch_2.pth'))
    foreign = write_checkpoint(tmp_path / 'resnet.pth', state_dict={'fc.weight': torch.ones(3, 3)})
    expected = {broken: 'cannot be read as a checkpoint', foreign: 'The checkpoint has no '}
    for file, message in expected.items():
        options = ['--work-dir', tmp_path / 'run', '--cfg-options', f'load_from={file}']
        done = run_tool(['train.py', CONFIG, *options], tmp_path)
        assert done.returncode != 0
        assert str(file) in done.stderr.splitlines()[-1], done.stderr
        assert message in done.stderr.splitlines()[-1]
    assert not list(tmp_path.glob('run/*.pth'))


def test_a_foreign_checkpoint_is_named(tmp_path: Path):
    other = write_checkpoint(tmp_path / 'resnet.pth', state_dict={'fc.weight': torch.ones(3, 3)})
    done = run_tool(['test.py', CONFIG, other, '--work-dir', tmp_path], tmp_path)
    assert done.returncode != 0
    assert f'{other}: The checkpoint has no ' in done.stderr
    assert 'it is not a checkpoint of this model' in done.stderr


def test_a_resumed_checkpoint_of_another_config_is_named(tiny, tmp_path: Path):
    """With as many weights and another optimiser; with other random states."""
    write_images(tmp_path / 'dtd')
    config = write_config(tmp_path / 'mini.py', tiny.clip, image_size=48)
    flags = ['--work-dir', tmp_path / 'run', '--no-validate']
    assert run_tool(['train.py', config, *flags], tmp_path).returncode == 0
    whole = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=True)
    groups = whole['optimizer']['param_groups']
    changes = {
        'groups': dict(optimizer=dict(whole['optimizer'], param_groups=groups * 2)),
        'states': dict(random_states=dict(processes=[{}], sampler_seed=1)),
    }
    for name, change in changes.items():
        file = tmp_path / f'{name}.pth'
        torch.save({**whole, **change}, file)
        options = ['--resume', file, '--cfg-options', 'train_cfg.max_epochs=3']
        done = run_tool(['train.py', config, *flags, *options], tmp_path)
        assert done.returncode != 0
        assert str(file) in done.stderr.strip().splitlines()[-1], done.stderr
    assert not (tmp_path / 'run' / 'epoch_3.pth').exists()

    canary = tmp_path / 'canary'
    torch.save({**whole, 'meta': {**whole['meta'], 'config': f'open({str(canary)!r}, "w")'}}, file)
    done = run_tool(['train.py', config, *flags, *options], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'run' / 'epoch_3.pth').exists()
    assert not canary.exists()  # MMEngine would have run it


def test_resume_skips_broken_checkpoints_with_a_warning(tiny, tmp_path: Path):
    write_images(tmp_path / 'dtd')
    config = write_config(tmp_path / 'mini.py', tiny.clip, image_size=48)
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    truncate(write_checkpoint(work_dir / 'epoch_1.pth'))
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    flags = ['--work-dir', work_dir, '--resume', '--no-validate']
    done = run_tool(['train.py', config, *flags], tmp_path)
    assert done.returncode == 0, done.stderr
    log = next(work_dir.glob('*/*.log')).read_text()
    assert f'--resume: {work_dir / "epoch_1.pth"} cannot be read as a checkpoint' in log
    assert 'A new run starts' in log
    assert torch.load(work_dir / 'epoch_2.pth', weights_only=True)['meta']['iter'] == 6

"""The command lines name a checkpoint that cannot be used, and skip a broken one to resume."""

from pathlib import Path

import pytest
import torch
from mini_checkpoints import truncate, write_checkpoint
from mini_runs import REPO, run_tool, write_config, write_images

from sotglp_cli import main

CONFIG = REPO / 'configs' / 'sotglp_demo_16shot.py'


PICTURE = next((REPO / 'docs' / 'pictures').glob('*.png'))
COMMANDS = (
    'train {config} --work-dir {out} --resume {file}',
    'train {config} --work-dir {out} --cfg-options load_from={file}',
    'test {config} {file} --work-dir {out}',
    'predict {config} {file} {picture} --out {out}.json',
    'show {config} {file} {picture} --out-dir {out}',
)


@pytest.mark.parametrize('command', COMMANDS)
def test_a_checkpoint_that_cannot_be_used_is_named(tmp_path: Path, capsys, command: str):
    broken = truncate(write_checkpoint(tmp_path / 'epoch_2.pth'))
    foreign = write_checkpoint(tmp_path / 'resnet.pth', state_dict={'fc.weight': torch.ones(3, 3)})
    messages = {broken: 'cannot be read as a checkpoint', foreign: 'not a checkpoint of this '}
    for file, message in messages.items():
        places = dict(config=CONFIG, file=file, picture=PICTURE, out=tmp_path / 'out')
        assert main(command.format(**places).split()) != 0
        said = capsys.readouterr().err.splitlines()[-1]
        assert str(file) in said and message in said
    assert not list(tmp_path.glob('out/*.pth'))


def test_a_resumed_checkpoint_of_another_config_is_named(tiny, tmp_path: Path):
    """With as many weights and another optimiser; with other random states."""
    write_images(tmp_path / 'dtd')
    config = write_config(tmp_path / 'mini.py', tiny.clip)
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    truncate(write_checkpoint(work_dir / 'epoch_1.pth'))
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    flags = ['--work-dir', work_dir, '--no-validate', '--resume']
    done = run_tool(['train.py', config, *flags], tmp_path)
    assert done.returncode == 0, done.stderr
    log = next(work_dir.glob('*/*.log')).read_text()
    assert f'--resume: {work_dir / "epoch_1.pth"} cannot be read as a checkpoint' in log
    assert 'A new run starts' in log
    whole = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    assert whole['meta']['iter'] == 6
    groups = whole['optimizer']['param_groups']
    changes = {
        'groups': dict(optimizer=dict(whole['optimizer'], param_groups=groups * 2)),
        'states': dict(random_states=dict(processes=[{}], sampler_seed=1)),
    }
    for name, change in changes.items():
        file = tmp_path / f'{name}.pth'
        torch.save({**whole, **change}, file)
        options = [file, '--cfg-options', 'train_cfg.max_epochs=3']
        done = run_tool(['train.py', config, *flags, *options], tmp_path)
        assert done.returncode != 0
        assert str(file) in done.stderr.strip().splitlines()[-1], done.stderr
    assert not (work_dir / 'epoch_3.pth').exists()

    canary = tmp_path / 'canary'
    torch.save({**whole, 'meta': {**whole['meta'], 'config': f'open({str(canary)!r}, "w")'}}, file)
    done = run_tool(['train.py', config, *flags, *options], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (work_dir / 'epoch_3.pth').exists()
    assert not canary.exists()  # MMEngine would have run it

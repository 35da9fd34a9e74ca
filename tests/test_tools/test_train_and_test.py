"""The main job through the command lines: train, resume, test, one process and two."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mini_runs import REPO, run_tool, write_config, write_images
from mini_trust import assert_equal, learned

from sotglp_cli import main
from sotglp_mm.engine import work_dir_lock


@pytest.fixture(scope='module')
def config(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('mini')
    write_images(folder / 'dtd')
    return write_config(folder / 'mini.py', tiny.clip)


@pytest.fixture(scope='module')
def trained(config: Path) -> Path:
    """Work dir of an undisturbed run."""
    work_dir = config.parent / 'run'
    done = run_tool(['train.py', config, '--work-dir', work_dir], config.parent)
    assert done.returncode == 0, done.stderr
    return work_dir


def log_of(work_dir: Path) -> str:
    return '\n'.join(file.read_text() for file in sorted(work_dir.glob('*/*.log')))


def last_scalars(work_dir: Path, key: str) -> dict:
    rows = []
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        rows += [json.loads(line) for line in file.read_text().splitlines()]
    return [row for row in rows if key in row][-1]


def evaluate(config: Path, checkpoint: Path, *flags) -> dict:
    out = config.parent / 'metrics.json'
    arguments = ['test.py', config, checkpoint, '--work-dir', config.parent / 'tested']
    arguments += ['--out', out, '--out-item', 'metrics', *flags]
    done = run_tool(arguments, config.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


def test_train_logs_what_learns(trained: Path):
    log = log_of(trained)
    assert 'CLIP is frozen' in log
    assert 'head.local_prompts (3, 2, 4, 128): 3,072' in log
    assert 'Few-shot set: 12 images of 3 classes, 4 shots' in log
    assert 'Warning' not in log.replace('WARNING', '')


def test_checkpoint_holds_what_was_learned_and_loads_safely(trained: Path):
    # in a process that knows nothing of this package
    code = (
        'import sys, torch; c = torch.load(sys.argv[1], weights_only=True);'
        "print(sorted(c['state_dict']), sorted(c), 'sotglp_mm' in sys.modules)"
    )
    checkpoint = str(trained / 'epoch_2.pth')
    done = subprocess.run(
        [sys.executable, '-c', code, checkpoint], capture_output=True, text=True, check=True
    )
    learned = ['_extra_state', 'head._extra_state', 'head.global_prompts', 'head.local_prompts']
    learned.append('neck.local_projection.weight')
    parts = ['message_hub', 'meta', 'optimizer', 'param_schedulers', 'random_states']
    parts.append('state_dict')
    assert done.stdout.strip() == f'{learned} {parts} False'


def test_test_repeats_the_last_evaluation(config: Path, trained: Path):
    metrics = evaluate(config, trained / 'epoch_2.pth')
    expected = last_scalars(trained, 'accuracy/top1')
    keys = ('accuracy/top1', 'accuracy_global/top1', 'accuracy_local/top1')
    assert {key: metrics[key] for key in keys} == {key: expected[key] for key in keys}


def test_a_config_that_learns_nothing_needs_no_checkpoint(tmp_path: Path):
    config, out = REPO / 'configs' / 'demo' / 'zero_shot.py', tmp_path / 'metrics.json'
    flags = ['--work-dir', tmp_path, '--out', out, '--out-item', 'metrics', '--cfg-options']
    options = ['test_dataloader.dataset.indices=[0,40,80]', 'test_dataloader.num_workers=0']
    done = run_tool(['test.py', config, 'none', *flags, *options], tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'accuracy/top1' in json.loads(out.read_text())


def test_resume_goes_on_where_it_stopped(config: Path, trained: Path):
    work_dir = config.parent / 'resumed'
    flags = ['--work-dir', work_dir, '--cfg-options', 'train_cfg.max_epochs=1']
    assert run_tool(['train.py', config, *flags], config.parent).returncode == 0
    done = run_tool(['train.py', config, '--work-dir', work_dir, '--resume'], config.parent)
    assert done.returncode == 0, done.stderr
    assert 'resumed epoch: 1' in log_of(work_dir)
    assert not (work_dir / 'epoch_3.pth').exists()
    resumed = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    whole = torch.load(trained / 'epoch_2.pth', weights_only=True)
    assert resumed['meta']['iter'] == whole['meta']['iter'] == 6
    # so does the schedule, although the first part was told to make one epoch only
    assert last_scalars(work_dir, 'lr')['lr'] == last_scalars(trained, 'lr')['lr'] == 1e-3
    # the log goes on as well: one loss for each of the six steps
    history = resumed['message_hub']['log_scalars']['train/loss']['history_buffer']
    assert len(history['values']) == 6
    # and the result is that of the run that was not interrupted, bit for bit
    assert_equal(learned(work_dir / 'epoch_2.pth'), learned(trained / 'epoch_2.pth'))


def test_resume_from_a_named_checkpoint(config: Path, trained: Path):
    work_dir = config.parent / 'from_file'
    flags = ['--work-dir', work_dir, '--resume', trained / 'epoch_1.pth', '--precision', 'auto']
    done = run_tool(['train.py', config, *flags], config.parent)
    assert done.returncode == 0, done.stderr
    assert (work_dir / 'epoch_2.pth').is_file()
    assert "dtype='auto': training in " in done.stdout


def test_flags(config: Path, trained: Path):
    """--amp and --no-validate train; --tta and --amp test."""
    work_dir = config.parent / 'flags'
    flags = ['--work-dir', work_dir, '--amp', '--no-validate', '--auto-scale-lr']
    flags += ['--no-pin-memory', '--no-persistent-workers']
    done = run_tool(['train.py', config, *flags], config.parent)
    assert done.returncode == 0, done.stderr
    assert 'accuracy' not in last_scalars(work_dir, 'loss')
    assert torch.tensor(last_scalars(work_dir, 'loss')['loss']).isfinite()
    metrics = evaluate(config, work_dir / 'epoch_2.pth', '--tta', '--amp')
    assert 0 <= metrics['accuracy/top1'] <= 100


def test_two_processes(config: Path):
    work_dir = config.parent / 'two'
    # a batch of two in each of two processes, and images that do not divide evenly
    flags = ['--work-dir', work_dir, '--cfg-options', 'train_dataloader.batch_size=2']
    done = run_tool([config, 2, *flags], config.parent, script='dist_train.sh')
    assert done.returncode == 0, done.stderr
    expected = last_scalars(work_dir, 'accuracy/top1')

    checkpoint = work_dir / 'epoch_2.pth'
    out = config.parent / 'two.json'
    flags = ['--work-dir', work_dir, '--out', out, '--out-item', 'metrics']
    done = run_tool([config, checkpoint, 2, *flags], config.parent, script='dist_test.sh')
    assert done.returncode == 0, done.stderr
    two = json.loads(out.read_text())
    one = evaluate(config, checkpoint)
    for key in ('accuracy/top1', 'accuracy_global/top1', 'accuracy_local/top1'):
        assert two[key] == one[key] == expected[key]


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('train_dataloader.dataset.dataset.data_root=/no/such/folder', '/no/such/folder'),
        ('train_dataloader.dataset.dataset.split_file=absent.json', 'absent.json'),
        ('model.head.class_names=[banded,dotted,braided]', "label 1 is 'dotted' for the head"),
        ('model.head.selector.k=99', 'an image has 36'),
        ('model.head.selector.kk=3', "has no setting 'kk'; did you mean 'k'"),
        ('train_dataloader.batch_size=99', 'Not a single batch'),
        ('model.clip.pretrained=/no/such/weights.pt', '/no/such/weights.pt'),
    ],
)
def test_bad_settings_stop_the_run(config: Path, option: str, message: str):
    flags = ['--work-dir', config.parent / 'bad', '--cfg-options', option]
    done = run_tool(['train.py', config, *flags], config.parent)
    assert done.returncode != 0
    assert message in done.stderr


def test_broken_image_is_named(config: Path, tmp_path: Path):
    write_images(tmp_path / 'dtd')
    broken = tmp_path / 'dtd' / 'images' / 'braided' / 'braided_train_1.jpg'
    broken.write_bytes(b'not a picture')
    flags = ['--work-dir', tmp_path / 'run', '--cfg-options']
    flags += ['train_dataloader.dataset.num_shots=16']
    done = run_tool(['train.py', config, *flags], tmp_path)
    assert done.returncode != 0
    assert f'image {broken} cannot be decoded' in done.stderr


def test_checkpoint_of_other_classes_is_refused(config: Path, trained: Path):
    flags = ['--work-dir', config.parent / 'bad', '--cfg-options']
    flags += ['model.head.class_names=[banded,dotted]']
    done = run_tool(['test.py', config, trained / 'epoch_2.pth', *flags], config.parent)
    assert done.returncode != 0
    assert "it has 3, and not once 'dotted'" in done.stderr


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (
            ['--out', 'metrics.csv', '--out-item', 'metrics'],
            r'ends in \.json, \.yaml, \.yml, \.pkl',
        ),
        (['--out', 'metrics.csv'], r'with --out-item pred: expected a file that ends in \.pkl'),
        (['--out-item', 'metrics'], 'metrics needs --out FILE'),
    ],
)
def test_results_that_cannot_be_written_stop_before_the_test(capsys, flags: list, message: str):
    assert main(['test', 'no/such/config.py', 'none', *flags]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_work_dir_in_use_is_left_alone(config: Path, tmp_path: Path, capsys):
    with work_dir_lock(tmp_path):
        assert main(['train', str(config), '--work-dir', str(tmp_path)]) == 2
    assert f'{tmp_path} is in use: process ' in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ['.lock']


def test_usage_of_the_shell_scripts():
    for script in ('dist_train.sh', 'dist_test.sh'):
        done = run_tool([], REPO, script=script)
        assert done.returncode == 2
        assert f'tools/{script} CONFIG' in done.stderr

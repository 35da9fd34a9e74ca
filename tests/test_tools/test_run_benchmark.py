"""The campaign: planning, skipping, refusing, failing; and once for real, killed on the way."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mini_campaign import OPTIONS, flags, write_campaign
from mini_checkpoints import write_checkpoint
from mini_data import write_image
from mini_runs import CLASSES, REPO
from mmengine.logging import MMLogger

from sotglp_mm.campaign import run as _campaign_run
from sotglp_mm.campaign import run_benchmark, summarize_runs
from sotglp_mm.campaign.files import lock, read_plan
from sotglp_mm.campaign.plan import batch_for, find_config

METRICS = {'accuracy_local/top1': 30.0, 'accuracy/top1': 50.0}
EPOCHS = 6


@pytest.fixture(scope='module')
def minis(tiny, tmp_path_factory) -> Path:
    MMLogger.get_current_instance()  # made within capsys, it would hold a stream that is closed
    folder = tmp_path_factory.mktemp('campaign')
    write_campaign(folder, tiny.clip, EPOCHS)
    return folder


@pytest.fixture(autouse=True)
def environment(minis: Path, monkeypatch):
    monkeypatch.setenv('DATA', str(minis))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')


class Pretender:
    """In the place of processes: leaves what train.py and test.py would."""

    def __init__(self):
        self.commands = []
        self.fails = lambda command: False

    def __call__(self, command: list[str], log_file: Path) -> int:
        self.commands.append(command)
        if self.fails(command):
            log_file.open('a').write('first line\n' + 20 * 'so long\n' + 'the reason\n')
            return 3
        if any(word.endswith('train.py') for word in command):
            checkpoint = Path(command[command.index('--work-dir') + 1]) / f'epoch_{EPOCHS}.pth'
            write_checkpoint(checkpoint)
            (checkpoint.parent / 'last_checkpoint').write_text(str(checkpoint))
        else:
            Path(command[command.index('--out') + 1]).write_text(json.dumps(METRICS))
        return 0

    def tools(self) -> list[str]:
        return [Path(w).name for command in self.commands for w in command[:6] if 'tools/t' in w]


@pytest.fixture
def pretender(monkeypatch) -> Pretender:
    pretender = Pretender()
    monkeypatch.setattr(_campaign_run, 'run_command', pretender)
    return pretender


def campaign(minis: Path, work_dir: Path, *more, datasets=('alpha', 'beta'), **options) -> int:
    words = ['--shots', '1', '2', '--seeds', '1', *more]
    return run_benchmark.main([*words, *flags(minis, work_dir, list(datasets), **options)])


def test_jobs_commands_and_results(minis, tmp_path, pretender, capsys):
    assert campaign(minis, tmp_path) == 0
    assert pretender.tools() == 4 * ['train.py', 'test.py']
    job = tmp_path / 'beta' / '2shot' / 'seed1'
    train, test = pretender.commands[-2:]
    config = f'{minis}/mini_beta.py'
    given = [
        *OPTIONS,
        'train_dataloader.dataset.num_shots=2',
        'train_dataloader.dataset.seed=1',
        'randomness.seed=1',
    ]
    tools = f'{REPO}/tools'
    begin = [sys.executable, f'{tools}/train.py', config]
    assert train == [*begin, '--work-dir', str(job), '--resume', '--cfg-options', *given]
    out = [str(job / 'test'), '--out', str(job / 'test' / 'metrics.json'), '--out-item', 'metrics']
    begin = [sys.executable, f'{tools}/test.py', config, str(job / f'epoch_{EPOCHS}.pth')]
    assert test == [*begin, '--work-dir', *out, '--cfg-options', *given]
    result = json.loads((job / 'result.json').read_text())
    assert result['metrics'] == METRICS
    expected = dict(dataset='beta', shots=2, seed=1, config=config, cfg_options=OPTIONS)
    expected |= dict(epochs=EPOCHS, sampling='per_class', batch_size=4, batch_size_note='')
    assert {key: result[key] for key in expected} == expected
    assert f'$ {shlex.join(test)}' in (job / 'log.txt').read_text()
    said = capsys.readouterr()
    assert 'beta, 2 shots, seed 1: top-1 50.00 %' in said.out
    assert '4/4' in said.err


def test_batch_is_capped_at_the_few_shot_set(minis, tmp_path, pretender, capsys):
    assert campaign(minis, tmp_path, datasets=['alpha']) == 0
    note = 'capped from 4: the few-shot set has 3 images at most'
    first, second = pretender.commands[0], pretender.commands[2]
    assert first[-1] == f'train_dataloader.batch_size={len(CLASSES)}'
    assert not any('batch_size' in word for word in second), 'six images fill a batch of four'
    assert f'batch size 3, {note}' in capsys.readouterr().out
    job = tmp_path / 'alpha' / '1shot' / 'seed1'
    assert note in (job / 'log.txt').read_text()
    result = json.loads((job / 'result.json').read_text())
    assert (result['batch_size'], result['batch_size_note']) == (3, note)


def test_images_of_ones_own(tmp_path, pretender, monkeypatch):
    monkeypatch.setenv('DATA', str(tmp_path / 'photos'))
    for name in ('cat', 'cow', 'dog'):
        write_image(tmp_path / 'photos' / name / '0.jpg', 0)
    words = ['--datasets', 'own', '--shots', '1', '--seeds', '1', '--work-dir', str(tmp_path)]
    words += ['--configs', str(REPO / 'configs' / 'sotglp_vitb16_16shot_{dataset}.py')]
    words += ['--cfg-options', 'train_cfg.max_epochs=6']
    assert run_benchmark.main(words) == 0
    assert pretender.commands[0][-1] == 'train_dataloader.batch_size=3', 'one image of each class'


def test_cap_counts_the_classes_that_options_leave(minis, tmp_path, pretender):
    options = ['model.head.class_names=[banded,blotchy]']
    assert campaign(minis, tmp_path, datasets=['alpha'], options=options) == 0
    assert pretender.commands[0][-1] == 'train_dataloader.batch_size=2'


@pytest.mark.parametrize(
    ('wanted', 'images', 'processes', 'each', 'note'),
    [
        (128, 752, 1, 128, ''),
        (128, 752, 4, 32, ''),
        (128, 47, 1, 47, 'capped from 128'),
        (10, 160, 4, 2, '10 does not divide evenly among 4 processes'),
        (128, 3, 4, 1, '3 does not divide evenly'),
    ],
)
def test_batch_of_a_process(wanted, images, processes, each, note):
    found = batch_for(wanted, images, processes)
    assert found[0] == each
    assert note in found[1] if note else found[1] == ''


def test_processes_share_the_batch(minis, tmp_path, pretender):
    more = ['--launcher', 'pytorch', '--nproc', '2']
    assert campaign(minis, tmp_path, *more, datasets=['alpha']) == 0
    command = pretender.commands[2]
    launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    assert command[1:5] == launch
    assert command[command.index('--launcher') + 1] == 'pytorch'
    assert command[-1] == 'train_dataloader.batch_size=2'
    # two times two images are the four of one process: the same settings, so it is done
    pretender.commands.clear()
    assert campaign(minis, tmp_path, '--shots', '2', datasets=['alpha']) == 0
    assert pretender.commands == []


def test_what_is_done_is_skipped_and_broken_results_are_redone(minis, tmp_path, pretender, capsys):
    assert campaign(minis, tmp_path) == 0
    pretender.commands.clear()
    broken = tmp_path / 'alpha' / '2shot' / 'seed1' / 'result.json'
    broken.write_text(broken.read_text()[:50])
    assert campaign(minis, tmp_path) == 0
    # its training is whole, so only its test is missing
    assert pretender.tools() == ['test.py']
    assert '4 jobs in' in (said := capsys.readouterr()).out and '3 done already' in said.out
    assert f'{broken} is not JSON' in said.err
    assert json.loads(broken.read_text())['metrics'] == METRICS


@pytest.mark.parametrize('left', ['result', 'checkpoint'])
def test_other_settings_are_refused(left, minis, tmp_path, pretender, capsys):
    assert campaign(minis, tmp_path) == 0
    if left == 'checkpoint':  # killed before its result
        (tmp_path / 'alpha' / '1shot' / 'seed1' / 'result.json').unlink()
    pretender.commands.clear()
    options = [*OPTIONS, 'optim_wrapper.optimizer.lr=0.125']
    assert campaign(minis, tmp_path, options=options) == 2
    said = capsys.readouterr().err
    assert f'{tmp_path}/alpha/1shot/seed1 was made with other settings' in said
    assert f'there: config {minis}/mini_alpha.py, --cfg-options {" ".join(OPTIONS)}, ' in said
    assert f'now:   config {minis}/mini_alpha.py, --cfg-options {" ".join(options)}, ' in said
    assert 'optim_wrapper.optimizer.lr is 0.002 there and 0.125 now' in said
    assert pretender.commands == []


DEEP = '[' * 100_000


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'is not JSON'),
        (DEEP, 'its lists are nested too deeply'),
        ('[1]', 'holds a list, expected an object'),
        ('{"a": 1}', "'config' is nothing, expected str"),
        ('{"config": "c.py", "cfg_options": null}', "'cfg_options' is None, expected list"),
    ],
)
def test_broken_settings_are_named(content, message, minis, tmp_path, pretender, capsys):
    assert campaign(minis, tmp_path, datasets=['alpha']) == 0
    file = tmp_path / 'alpha' / '1shot' / 'seed1' / 'settings.json'
    file.write_text(content)
    assert campaign(minis, tmp_path, datasets=['alpha']) == 2
    said = capsys.readouterr().err
    assert str(file) in said and message in said and 'remove the folder it is in' in said


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'is not JSON'),
        (DEEP, 'its lists are nested too deeply'),
        ('[1]', "is [1], expected 'jobs', a list"),
        ('{"jobs": 3}', "is {'jobs': 3}, expected 'jobs', a list"),
        (
            '{"jobs": [["a", 1, Infinity]]}',
            "the job ['a', 1, inf], expected [dataset, shots, seed",
        ),
        ('{"jobs": [["a", 1]]}', "has the job ['a', 1], expected"),
        ('{"jobs": [7]}', 'has the job 7, expected'),
    ],
)
def test_a_broken_plan_is_named(content, message, minis, tmp_path, pretender, capsys):
    (tmp_path / 'campaign.json').write_text(content)
    assert campaign(minis, tmp_path, datasets=['alpha']) == 2
    said = capsys.readouterr().err
    assert f'{tmp_path / "campaign.json"} ' in said and message in said and 'remove it' in said


def test_metrics_that_cannot_be_read_fail_the_job(minis, tmp_path, pretender, monkeypatch, capsys):
    def nested(command, log_file):
        status = pretender(command, log_file)
        if '--out' in command:
            Path(command[command.index('--out') + 1]).write_text(DEEP)
        return status

    monkeypatch.setattr(_campaign_run, 'run_command', nested)
    assert campaign(minis, tmp_path, datasets=['alpha']) == 1
    assert 'FAILED, testing ended well and left no metrics in' in capsys.readouterr().out


def test_a_changed_config_is_another_setting(minis, tmp_path, pretender, capsys):
    config = tmp_path / 'mini_alpha.py'
    config.write_text(f"_base_ = '{minis}/mini_alpha.py'\n")
    assert campaign(tmp_path, tmp_path / 'out', datasets=['alpha']) == 0
    config.write_text(f"_base_ = '{minis}/mini_alpha.py'\n# a remark\nlog_level = 'DEBUG'\n")
    assert campaign(tmp_path, tmp_path / 'out', datasets=['alpha']) == 0
    config.write_text(f"_base_ = '{minis}/mini_alpha.py'\nmodel = dict(neck=dict(learn=False))\n")
    assert campaign(tmp_path, tmp_path / 'out', datasets=['alpha']) == 2
    assert 'model.neck.learn is True there and False now' in capsys.readouterr().err


def test_data_may_move(minis, tmp_path, pretender, monkeypatch):
    assert campaign(minis, tmp_path / 'out', datasets=['alpha']) == 0
    moved = tmp_path / 'elsewhere'
    moved.symlink_to(minis)
    monkeypatch.setenv('DATA', str(moved))
    pretender.commands.clear()
    config = tmp_path / 'mini_alpha.py'
    # the tiny CLIP lies among the data as well
    text = (minis / 'base.py').read_text().replace(str(minis), str(moved))
    (tmp_path / 'base.py').write_text(text)
    config.write_text((minis / 'mini_alpha.py').read_text())
    assert campaign(tmp_path, tmp_path / 'out', datasets=['alpha']) == 0
    assert pretender.commands == []


def test_a_failing_job_does_not_stop_the_others(minis, tmp_path, pretender, capsys):
    pretender.fails = lambda command: any('alpha/2shot' in word for word in command)
    assert campaign(minis, tmp_path) == 1
    assert pretender.tools().count('test.py') == 3
    said = capsys.readouterr().out
    assert 'alpha, 2 shots, seed 1: FAILED, train.py: exit status 3' in said
    assert 'the reason' in said and 'first line' not in said
    assert '1 failed:\n  alpha, 2 shots, seed 1\n' in said
    # once the reason is mended, with other settings if need be, it alone is run
    pretender.fails = lambda command: False
    pretender.commands.clear()
    options = [*OPTIONS, 'model.neck.learn=False']
    more = ['--shots', '2']
    assert campaign(minis, tmp_path, *more, datasets=['alpha'], options=options) == 0
    assert pretender.tools() == ['train.py', 'test.py']


def test_training_that_ends_early_is_a_failure(minis, tmp_path, pretender, capsys, monkeypatch):
    def too_short(command, log_file):
        status = pretender(command, log_file)
        if pretender.tools()[-1] == 'train.py':
            last = log_file.parent / f'epoch_{EPOCHS}.pth'
            last.rename(log_file.parent / 'epoch_2.pth')
            (log_file.parent / 'last_checkpoint').write_text(str(log_file.parent / 'epoch_2.pth'))
        return status

    monkeypatch.setattr(_campaign_run, 'run_command', too_short)
    assert campaign(minis, tmp_path, datasets=['alpha']) == 1
    said = capsys.readouterr().out
    assert 'epoch_2.pth; expected' in said and f'epoch_{EPOCHS}.pth' in said


def test_print_jobs_prints_nothing_else(minis, tmp_path, pretender, capsys):
    assert campaign(minis, tmp_path, '--shots', '1', datasets=['alpha']) == 0
    pretender.commands.clear()
    capsys.readouterr()
    assert campaign(minis, tmp_path, '--print-jobs') == 0
    lines = capsys.readouterr().out.splitlines()
    assert pretender.commands == []
    begin = 'python tools/run_benchmark.py --datasets'
    wanted = ['alpha --shots 2', 'beta --shots 1', 'beta --shots 2']
    assert [line.split(' --seeds 1 ')[0] for line in lines] == [f'{begin} {w}' for w in wanted]
    # each line is the whole job, and nothing but it
    for line in lines:
        assert run_benchmark.main(shlex.split(line)[2:]) == 0
    assert len(pretender.commands) == 6
    capsys.readouterr()
    assert campaign(minis, tmp_path, '--print-jobs') == 0
    assert capsys.readouterr().out == ''


def test_the_plan_grows_from_call_to_call(minis, tmp_path, pretender):
    campaign(minis, tmp_path, '--print-jobs', datasets=['beta'])
    campaign(minis, tmp_path, '--print-jobs', '--shots', '4', datasets=['alpha'])
    assert read_plan(tmp_path) == [('alpha', 4, 1), ('beta', 1, 1), ('beta', 2, 1)]


def test_a_job_of_another_campaign_is_left_to_it(minis, tmp_path, pretender, capsys):
    with lock(tmp_path / 'alpha' / '2shot' / 'seed1' / '.lock') as mine:
        assert mine
        assert campaign(minis, tmp_path, datasets=['alpha']) == 0
    assert pretender.tools() == ['train.py', 'test.py']
    said = capsys.readouterr().out
    assert '1 run by another campaign:\n  alpha, 2 shots, seed 1\n' in said


@pytest.mark.parametrize('note', [None, '', '/where/it/was/epoch_3.pth'])
def test_a_job_killed_before_its_last_note_is_only_tested(minis, tmp_path, pretender, note):
    """Or killed while it was written; or its folder has moved since."""
    assert campaign(minis, tmp_path, datasets=['alpha']) == 0
    for result in tmp_path.rglob(_campaign_run.RESULT):
        result.unlink()
    for pointer in tmp_path.rglob('last_checkpoint'):
        pointer.unlink() if note is None else pointer.write_text(note)
    pretender.commands.clear()
    assert campaign(minis, tmp_path, datasets=['alpha']) == 0
    assert set(pretender.tools()) == {'test.py'}


def test_the_default_is_the_benchmark():
    args = run_benchmark.parse_args([])
    assert len(args.datasets) == 11 and args.datasets[0] == 'imagenet'
    assert (args.shots, args.seeds) == ([1, 2, 4, 8, 16], [1, 2, 3])
    pattern = str(REPO / args.configs)
    assert find_config(pattern, 'imagenet').name == 'sotglp_vitb16_16shot.py'
    assert find_config(pattern, 'dtd').name == 'sotglp_vitb16_16shot_dtd.py'


@pytest.mark.parametrize(
    ('datasets', 'options', 'message'),
    [
        (['delta'], OPTIONS, "no config for dataset 'delta'"),
        (['alpha'], ['randomness.seed=3'], 'a campaign sets it by --seeds'),
    ],
)
def test_what_cannot_be_planned(datasets, options, message, minis, tmp_path, pretender, capsys):
    assert campaign(minis, tmp_path, datasets=datasets, options=options) == 2
    assert message in capsys.readouterr().err
    assert pretender.commands == []


def test_stored_features_draw_no_shots(minis, tmp_path, pretender, capsys):
    cached = "dict(_delete_=True, type='CachedFeatureDataset', cache='x', split='train')"
    (tmp_path / 'mini_alpha.py').write_text(
        f"_base_ = '{minis}/mini_alpha.py'\ntrain_dataloader = dict(dataset={cached})\n"
    )
    assert campaign(tmp_path, tmp_path, datasets=['alpha'], options=[]) == 2
    said = capsys.readouterr().err
    assert f'{tmp_path}/mini_alpha.py' in said
    assert 'is a CachedFeatureDataset, which draws no shots' in said


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it did not happen in time'
        time.sleep(0.005)


def alive(pid: int) -> bool:
    stat = Path(f'/proc/{pid}/stat')
    return stat.exists() and stat.read_text().rsplit(')', 1)[1].split()[0] != 'Z'


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems do not end orphans')
@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL])
def test_no_command_outlives_the_campaign(how, tmp_path):
    file = tmp_path / 'pid'
    code = (
        # a shell starts what runs in the background with SIGINT ignored
        'import signal; signal.signal(signal.SIGINT, signal.default_int_handler);'
        'import sys; from pathlib import Path; from _campaign_process import run_command;'
        "run_command(['sh', '-c', f'echo $$ > {sys.argv[1]}; exec sleep 99'], Path(sys.argv[2]))"
    )
    command = [sys.executable, '-c', code, str(file), str(tmp_path / 'log.txt')]
    process = subprocess.Popen(command, cwd=REPO / 'tools', stderr=subprocess.DEVNULL)
    wait_for(lambda: file.exists() and file.read_text().strip())
    pid = int(file.read_text())
    assert alive(pid)
    process.send_signal(how)
    process.wait(20)
    wait_for(lambda: not alive(pid), 10)


def test_killed_and_started_again_equals_undisturbed(minis, tmp_path):
    """With all that is drawn by chance; tests/kill_campaign.py has more jobs."""
    undisturbed, killed = tmp_path / 'undisturbed', tmp_path / 'killed'
    arguments = ['--shots', '2', '--seeds', '1']
    both = ['alpha', 'beta']
    assert run_benchmark.main([*arguments, *flags(minis, undisturbed, both, options=[])]) == 0

    arguments += flags(minis, killed, both, options=[])
    command = [sys.executable, str(REPO / 'tools' / 'run_benchmark.py'), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    job = killed / 'beta' / '2shot' / 'seed1'
    wait_for(lambda: (job / 'last_checkpoint').exists() or process.poll() is not None, 600)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = killed / 'alpha' / '2shot' / 'seed1' / 'result.json'
    written = done.stat().st_mtime_ns
    assert not (job / 'result.json').exists(), 'killed in the middle'

    assert run_benchmark.main(arguments) == 0
    assert done.stat().st_mtime_ns == written, 'what was done is not done again'
    weights = [
        torch.load(w / 'beta/2shot/seed1' / f'epoch_{EPOCHS}.pth', weights_only=True)['state_dict']
        for w in (undisturbed, killed)
    ]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    for work_dir in (undisturbed, killed):
        summarize_runs.main([str(work_dir)])
    for name in ('summary.md', 'summary.csv', 'summary.json', 'accuracy_vs_shots.png'):
        assert (undisturbed / name).read_bytes() == (killed / name).read_bytes(), name

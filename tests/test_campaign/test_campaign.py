"""The campaign: planning, skipping, refusing, failing, and jobs in one process."""

import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from mini_campaign import OPTIONS, run_forked, write_campaign
from mini_checkpoints import write_checkpoint
from mini_data import write_image
from mini_runs import CLASSES, REPO
from mini_trust import assert_equal, learned
from mmengine.logging import MMLogger
from process_group import fork

from sotglp_mm.campaign import processes, run_campaign, summarize
from sotglp_mm.campaign.plan import batch_for, find_config
from sotglp_mm.campaign.records import JOB_LOCK, RESULT, read_plan
from sotglp_mm.campaign.run import CONFIGS, DATASETS

METRICS = {'accuracy_local/top1': 30.0, 'accuracy/top1': 50.0}
EPOCHS = 2
DEEP = '[' * 100_000


@pytest.fixture(scope='module')
def minis(tiny, tmp_path_factory) -> Path:
    MMLogger.get_current_instance()  # made within capsys, it would hold a stream that is closed
    folder = tmp_path_factory.mktemp('campaign')
    write_campaign(folder, tiny.clip, EPOCHS)
    return folder


@pytest.fixture(autouse=True)
def environment(minis: Path, monkeypatch):
    monkeypatch.setenv('DATA', str(minis))


class Pretender:
    """In the place of processes: leaves what train.py and test.py would."""

    def __init__(self):
        self.commands = []
        self.fails = lambda command: False
        self.last_epoch = EPOCHS
        self.metrics = json.dumps(METRICS)

    def __call__(self, command: list[str], log: Path) -> int:
        self.commands.append(command)
        if self.fails(command):
            log.open('a').write('first line\n' + 20 * 'so long\n' + 'the reason\n')
            return 3
        if any(word.endswith('train.py') for word in command):
            folder = Path(command[command.index('--work-dir') + 1])
            write_checkpoint(folder / f'epoch_{self.last_epoch}.pth')
        else:
            Path(command[command.index('--out') + 1]).write_text(self.metrics)
        return 0

    def tools(self) -> list[str]:
        return [Path(w).name for command in self.commands for w in command[:6] if 'tools/t' in w]


@pytest.fixture
def pretender(monkeypatch) -> Pretender:
    pretender = Pretender()
    monkeypatch.setattr(processes, 'run_command', pretender)
    return pretender


def campaign(
    minis: Path, work_dir: Path, datasets=('alpha',), options=OPTIONS, **settings
) -> list[str]:
    configs = f'{minis}/mini_{{dataset}}.py'
    settings = dict(shots=[1, 2], seeds=[1], configs=configs, work_dir=work_dir) | settings
    return run_campaign(datasets, cfg_options=options, **settings)


def test_jobs_commands_and_results(minis, tmp_path, pretender, capsys):
    assert not campaign(minis, tmp_path, ['alpha', 'beta', 'alpha'])
    assert pretender.tools() == 4 * ['train.py', 'test.py']
    job = tmp_path / 'beta' / '2shot' / 'seed1'
    train, test = pretender.commands[-2:]
    config = f'{minis}/mini_beta.py'
    given = [*OPTIONS, 'randomness.seed=1']
    given += ['train_dataloader.dataset.num_shots=2', 'train_dataloader.dataset.seed=1']
    begin = [sys.executable, f'{REPO}/tools/train.py', config]
    flags = ['--work-dir', str(job), '--resume', '--no-validate', '--cfg-options']
    assert train == [*begin, *flags, *given]
    out = [str(job / 'test'), '--out', str(job / 'test' / 'metrics.json'), '--out-item', 'metrics']
    begin = [sys.executable, f'{REPO}/tools/test.py', config, str(job / f'epoch_{EPOCHS}.pth')]
    assert test == [*begin, '--work-dir', *out, '--cfg-options', *given]
    result = json.loads((job / 'result.json').read_text())
    assert result['metrics'] == METRICS
    expected = dict(dataset='beta', shots=2, seed=1, config=config, cfg_options=OPTIONS)
    expected |= dict(epochs=EPOCHS, sampling='per_class', batch_size=4, batch_size_note='')
    assert {key: result[key] for key in expected} == expected
    assert f'$ {shlex.join(test)}' in (job / 'log.txt').read_text()
    output = capsys.readouterr()
    assert 'beta, 2 shots, seed 1: top-1 50.00 %' in output.out
    assert '4/4' in output.err


@pytest.mark.parametrize(
    'option',
    [
        'default_hooks.checkpoint.save_best=auto',
        'default_hooks.stop.type=EarlyStoppingHook',
        'param_scheduler.type=ReduceOnPlateauLR',
    ],
)
def test_a_training_that_reads_validation_is_validated(option, minis, tmp_path, pretender):
    assert not campaign(minis, tmp_path, shots=[1], options=[option])
    assert '--no-validate' not in pretender.commands[0]


def test_batch_is_capped_at_the_few_shot_set(minis, tmp_path, pretender, capsys, monkeypatch):
    assert not campaign(minis, tmp_path)
    note = 'capped from 4: the few-shot set has 3 images at most'
    first, second = pretender.commands[0], pretender.commands[2]
    assert first[-1] == f'train_dataloader.batch_size={len(CLASSES)}'
    assert not any('batch_size' in word for word in second), 'six images fill a batch of four'
    assert f'batch size 3, {note}' in capsys.readouterr().out
    job = tmp_path / 'alpha' / '1shot' / 'seed1'
    assert note in (job / 'log.txt').read_text()
    result = json.loads((job / 'result.json').read_text())
    assert (result['batch_size'], result['batch_size_note']) == (3, note)
    # it counts the classes of one's own images
    monkeypatch.setenv('DATA', str(tmp_path / 'photos'))
    for name in ('cat', 'cow', 'dog'):
        write_image(tmp_path / 'photos' / name / '0.jpg', 0)
    options = [f'train_cfg.max_epochs={EPOCHS}']
    assert not run_campaign(['own'], [1], [1], CONFIGS, tmp_path / 'own', cfg_options=options)
    assert pretender.commands[4][-1] == 'train_dataloader.batch_size=3', 'an image of each class'


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
    assert not campaign(minis, tmp_path, launcher='pytorch', nproc=2)
    command = pretender.commands[2]
    launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    assert command[1:5] == launch
    assert command[command.index('--launcher') + 1] == 'pytorch'
    assert command[-1] == 'train_dataloader.batch_size=2'
    # two times two images are the four of one process: the same settings, so it is done
    pretender.commands.clear()
    assert not campaign(minis, tmp_path, shots=[2])
    assert pretender.commands == []


def test_what_is_done_is_skipped_and_broken_results_are_redone(minis, tmp_path, pretender, capsys):
    assert not campaign(minis, tmp_path)
    pretender.commands.clear()
    broken = tmp_path / 'alpha' / '2shot' / 'seed1' / 'result.json'
    broken.write_text(broken.read_text()[:50])
    assert not campaign(minis, tmp_path)
    # its training is complete, so only its test is missing
    assert pretender.tools() == ['test.py']
    assert '1 done already' in (output := capsys.readouterr()).out
    assert f'{broken} is not JSON' in output.err
    assert json.loads(broken.read_text())['metrics'] == METRICS


@pytest.mark.parametrize('left', ['result', 'checkpoint'])
def test_other_settings_are_refused(left, minis, tmp_path, pretender):
    assert not campaign(minis, tmp_path)
    if left == 'checkpoint':  # killed before its result
        (tmp_path / 'alpha' / '1shot' / 'seed1' / 'result.json').unlink()
    pretender.commands.clear()
    options = [*OPTIONS, 'optim_wrapper.optimizer.lr=0.125']
    with pytest.raises(ValueError) as error:
        campaign(minis, tmp_path, options=options)
    message = str(error.value)
    assert f'{tmp_path}/alpha/1shot/seed1 was made with other settings' in message
    assert f'there: config {minis}/mini_alpha.py, --cfg-options {" ".join(OPTIONS)}, ' in message
    assert f'now:   config {minis}/mini_alpha.py, --cfg-options {" ".join(options)}, ' in message
    assert 'optim_wrapper.optimizer.lr is 0.002 there and 0.125 now' in message
    assert pretender.commands == []


@pytest.mark.parametrize(
    ('file', 'content', 'message'),
    [
        ('alpha/1shot/seed1/settings.json', '{"a": 1}', "'config' is missing, expected str"),
        ('campaign.json', '{"jobs": [["a", true, 1]]}', "the job ['a', True, 1], expected ["),
        ('campaign.json', '{"jobs": [7]}', 'has the job 7, expected'),
    ],
)
def test_broken_records_are_named(file, content, message, minis, tmp_path, pretender):
    assert not campaign(minis, tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError) as error:
        campaign(minis, tmp_path)
    assert str(tmp_path / file) in str(error.value) and message in str(error.value)
    assert 'remove' in str(error.value)


def test_a_changed_config_is_another_setting(minis, tmp_path, pretender):
    config = tmp_path / 'mini_alpha.py'
    for more in ('', "# a remark\nlog_level = 'DEBUG'\ntrain_dataloader = dict(num_workers=1)\n"):
        config.write_text(f"_base_ = '{minis}/mini_alpha.py'\n{more}")
        assert not campaign(tmp_path, tmp_path / 'out')
    assert len(pretender.commands) == 4
    config.write_text(f"_base_ = '{minis}/mini_alpha.py'\nmodel = dict(neck=dict(learn=False))\n")
    with pytest.raises(ValueError, match=r'model\.neck\.learn is True there and False now'):
        campaign(tmp_path, tmp_path / 'out')


def test_a_config_that_changes_during_a_campaign_fails_its_jobs(
    minis, tmp_path, pretender, capsys
):
    """What was planned is what is recorded; a job must not train anything else."""
    config = tmp_path / 'mini_alpha.py'
    config.write_text(f"_base_ = '{minis}/mini_alpha.py'\n")
    after = f"_base_ = '{minis}/mini_alpha.py'\nmodel = dict(neck=dict(learn=False))\n"
    pretender.fails = lambda command: not config.write_text(after)
    assert len(campaign(tmp_path, tmp_path / 'out')) == 2
    assert pretender.tools() == ['train.py', 'test.py']  # of the first; the second did not begin
    out = capsys.readouterr().out
    assert out.count('model.neck.learn was True and is False. Undo the change') == 2
    assert not list((tmp_path / 'out').rglob(RESULT))


def test_data_may_move(minis, tmp_path, pretender, monkeypatch):
    assert not campaign(minis, tmp_path / 'out')
    moved = tmp_path / 'elsewhere'
    moved.symlink_to(minis)
    monkeypatch.setenv('DATA', str(moved))
    pretender.commands.clear()
    # the tiny CLIP lies among the data as well
    text = (minis / 'base.py').read_text().replace(str(minis), str(moved))
    (tmp_path / 'base.py').write_text(text)
    (tmp_path / 'mini_alpha.py').write_text((minis / 'mini_alpha.py').read_text())
    assert not campaign(tmp_path, tmp_path / 'out')
    assert pretender.commands == []


def test_a_failing_job_does_not_stop_the_others(minis, tmp_path, pretender, capsys):
    pretender.fails = lambda command: any('alpha/2shot' in word for word in command)
    assert campaign(minis, tmp_path, ['alpha', 'beta']) == ['alpha, 2 shots, seed 1']
    assert pretender.tools().count('test.py') == 3
    output = capsys.readouterr().out
    assert 'alpha, 2 shots, seed 1: FAILED, train.py: exit status 3' in output
    assert 'the reason' in output and 'first line' not in output
    assert '1 failed:\n  alpha, 2 shots, seed 1\n' in output
    # once the reason is removed, with other settings if need be, it alone is run
    pretender.fails = lambda command: False
    pretender.commands.clear()
    assert not campaign(minis, tmp_path, shots=[2], options=['model.neck.learn=False'])
    assert pretender.tools() == ['train.py', 'test.py']


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(last_epoch=1), f'epoch_1.pth; expected {{job}}/epoch_{EPOCHS}.pth'),
        (dict(metrics=DEEP), 'the test ended well and left no metrics in {job}/test/metrics.json'),
    ],
)
def test_a_job_that_leaves_less_has_failed(wrong, message, minis, tmp_path, pretender, capsys):
    vars(pretender).update(wrong)
    assert campaign(minis, tmp_path, shots=[1])
    job = tmp_path / 'alpha' / '1shot' / 'seed1'
    assert message.format(job=job) in capsys.readouterr().out
    assert not (job / RESULT).exists()


def test_print_jobs_prints_nothing_else(minis, tmp_path, pretender, capsys):
    assert not campaign(minis, tmp_path, shots=[1])
    pretender.commands.clear()
    capsys.readouterr()
    assert not campaign(minis, tmp_path, ['alpha', 'beta'], print_jobs=True)
    lines = capsys.readouterr().out.splitlines()
    assert pretender.commands == []
    begin = 'sotglp campaign --datasets'
    wanted = ['alpha --shots 2', 'beta --shots 1', 'beta --shots 2']
    assert [line.split(' --seeds 1 ')[0] for line in lines] == [f'{begin} {w}' for w in wanted]
    rest = f' --configs {minis}/mini_{{dataset}}.py --work-dir {tmp_path} --cfg-options '
    assert {shlex.join(shlex.split(line)) for line in lines} == set(lines)
    assert all(line.replace("'", '').endswith(rest + OPTIONS[0]) for line in lines)
    assert read_plan(tmp_path) == [(d, s, 1) for d in ('alpha', 'beta') for s in (1, 2)]


def test_a_job_of_another_campaign_is_left_to_it(minis, tmp_path, pretender, capsys):
    (tmp_path / 'alpha' / '2shot' / 'seed1').mkdir(parents=True)
    with FileLock(tmp_path / 'alpha' / '2shot' / 'seed1' / JOB_LOCK):
        assert not campaign(minis, tmp_path)
    assert pretender.tools() == ['train.py', 'test.py']
    output = capsys.readouterr().out
    assert '1 run by another campaign:\n  alpha, 2 shots, seed 1\n' in output


@pytest.mark.parametrize('note', [None, '', '/where/it/was/epoch_3.pth'])
def test_a_job_killed_before_its_last_note_is_only_tested(minis, tmp_path, pretender, note):
    """Or killed while it was written; or its folder has moved since."""
    assert not campaign(minis, tmp_path)
    for result in tmp_path.rglob(RESULT):
        result.unlink()
        if note is not None:
            (result.parent / 'last_checkpoint').write_text(note)
    pretender.commands.clear()
    assert not campaign(minis, tmp_path)
    assert set(pretender.tools()) == {'test.py'}


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(datasets=['delta']), "no config for dataset 'delta'"),
        (dict(options=['randomness.seed=3']), 'a campaign sets it by --seeds'),
        (dict(nproc=2), 'nproc=2 needs launcher'),
        (dict(options=['train_dataloader.dataset.files=a.json']), 'names one draw for all jobs'),
        (dict(nproc=2, launcher='pytorch', in_process=True), 'in_process=True runs one process'),
        (dict(options=['optim_wrapper.dtype=auto']), 'have to train in one precision'),
    ],
)
def test_what_cannot_be_planned(settings, message, minis, tmp_path, pretender):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        campaign(minis, tmp_path, **settings)
    assert pretender.commands == []
    assert len(DATASETS) == 11 and DATASETS[0] == 'imagenet'
    assert find_config(CONFIGS, 'imagenet', 16, 1).name == 'sotglp_vitb16_16shot.py'
    assert find_config(CONFIGS, 'dtd', 16, 1).name == 'sotglp_vitb16_16shot_dtd.py'


def test_jobs_in_one_process_equal_those_of_separate_ones(minis, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, 'run_command', run_forked)
    (minis / 'mini_diverging.py').write_text(
        "_base_ = './mini_alpha.py'\noptim_wrapper = dict(optimizer=dict(lr=1e38))\n"
    )
    settings = dict(shots=[2], features=tmp_path / 'features')
    environment, loggers = dict(os.environ), len(MMLogger._instance_dict)
    here, apart = tmp_path / 'here', tmp_path / 'apart'
    failed = campaign(minis, here, ['diverging', 'alpha'], **settings)
    assert failed == ['diverging, 2 shots, seed 1']
    changed = {k for k in {*os.environ, *environment} if os.environ.get(k) != environment.get(k)}
    assert not changed and len(MMLogger._instance_dict) == loggers
    assert 'FAILED, train: ' in capsys.readouterr().out
    assert 'Traceback' in (here / 'diverging' / '2shot' / 'seed1' / 'log.txt').read_text()
    assert not campaign(minis, apart, in_process=False, **settings)
    one, other = (each / 'alpha' / '2shot' / 'seed1' for each in (here, apart))
    last = f'epoch_{EPOCHS}.pth'
    assert_equal(learned(one / last), learned(other / last))
    assert (one / RESULT).read_text() == (other / RESULT).read_text()
    assert '$ ' in (other / 'log.txt').read_text() and '$ ' not in (one / 'log.txt').read_text()


def test_methods_share_features_and_other_draws_or_data_do_not(minis, tmp_path):
    features = tmp_path / 'features'
    campaign(minis, tmp_path / 'runs', shots=[1, 2], features=features)
    stored = {file: file.stat().st_mtime_ns for file in features.rglob('*.npy')}
    assert sorted(str(file.parent.relative_to(features / 'alpha')) for file in stored) == sorted(
        4 * ['1shot/seed1/train', '2shot/seed1/train', 'test/test']
    )
    other = ['model.head.num_global_prompts=1']
    campaign(minis, tmp_path / 'other', shots=[1], features=features, options=other)
    assert stored == {file: file.stat().st_mtime_ns for file in features.rglob('*.npy')}
    found = learned(tmp_path / f'other/alpha/1shot/seed1/epoch_{EPOCHS}.pth')['state_dict']
    assert len(found['head.global_prompts']) == 1
    (of_one,) = (tmp_path / 'runs' / 'configs').glob('*/alpha_1shot_seed1/config.py')
    text = of_one.read_text()
    with pytest.raises(ValueError, match='was made with other settings'):
        campaign(minis, tmp_path / 'runs', shots=[1], features=features, options=other)
    assert of_one.read_text() == text, 'jobs that are still to run read it'
    of_one = str(of_one).replace('alpha', '{dataset}')
    with pytest.raises(ValueError, match=r'draw with .+1.+1.+, and this job is of .+2.+1'):
        campaign(minis, tmp_path / 'more', shots=[2], configs=of_one)
    record = tmp_path / 'runs' / 'alpha' / '1shot' / 'seed1' / 'few_shot_files.json'
    other = [f'train_dataloader.dataset.files={record}']
    with pytest.raises(ValueError, match='names one draw for all jobs'):
        campaign(minis, tmp_path / 'drawn', shots=[1], features=tmp_path / 'drawn', options=other)
    other = ['model.backbone.first_block_residual=False']
    settings = dict(shots=[1], features=features, options=other)
    for method in (None, 'linear_probe'):
        work_dir = tmp_path / f'residual_{method}'
        failed = campaign(minis, work_dir, method=method, **settings)
        assert failed == ['alpha, 1 shot, seed 1']
        log = (work_dir / 'alpha/1shot/seed1/log.txt').read_text()
        assert 'was made from something else' in log and 'first_block_residual' in log


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
    command = ['sh', '-c', f'echo $$ > {file}; exec sleep 99']

    def run() -> int:
        # a shell starts what runs in the background with SIGINT ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return processes.run_command(command, tmp_path / 'log.txt')

    process = fork(run, tmp_path / 'output.txt')
    wait_for(lambda: file.exists() and file.read_text().strip())
    pid = int(file.read_text())
    assert alive(pid)
    os.kill(process, how)
    os.waitpid(process, 0)
    wait_for(lambda: not alive(pid), 10)


@pytest.mark.parametrize('in_process', [False, True])
def test_a_killed_campaign_ends_as_an_undisturbed_one(minis, tmp_path, monkeypatch, in_process):
    """Killed while a job trains, once its first checkpoint is there."""
    monkeypatch.setattr(processes, 'run_command', run_forked)
    options = [*OPTIONS, 'train_cfg.max_epochs=4']
    work_dir, expected, last = tmp_path / 'killed', tmp_path / 'undisturbed', 'epoch_4.pth'

    def run(folder: Path) -> list[str]:
        datasets, settings = ['alpha', 'beta'], dict(shots=[2], in_process=in_process)
        return campaign(minis, folder, datasets, options, **settings)

    victim = work_dir / 'beta' / '2shot' / 'seed1'
    pid = fork(lambda: len(run(work_dir)), tmp_path / 'log.txt')
    wait_for(lambda: list(victim.glob('epoch_*.pth')))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with FileLock(victim / JOB_LOCK):  # held by the training until it has ended as well
        assert not (victim / last).exists(), 'it was to be killed in a training'
    done = {file: file.stat().st_mtime_ns for file in work_dir.rglob(RESULT)}
    assert len(done) == 1
    assert not run(work_dir) and not run(expected)
    assert {file: file.stat().st_mtime_ns for file in done} == done, 'it was done again'
    for dataset in ('alpha', 'beta'):
        one, other = (each / dataset / '2shot/seed1' / last for each in (work_dir, expected))
        assert_equal(learned(one), learned(other))
    for one, other in zip(summarize(work_dir), summarize(expected), strict=True):
        assert one.read_bytes() == other.read_bytes(), one

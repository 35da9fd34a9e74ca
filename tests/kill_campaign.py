"""Kill a campaign in the middle, start it again, and compare with one that nothing disturbed.

    python tests/kill_campaign.py               # three miniature datasets, two shots, two seeds
    python tests/kill_campaign.py --seeds 1     # half of it

Crops, flips and prompt dropout are drawn as ever. The campaign is killed with SIGKILL while a job
trains, once its first checkpoint is there. What was done must not be done again, and at the end
all learned parameters must be those of the undisturbed campaign, bit for bit, and its table and
plot byte for byte. Exit status 0 only then.

The jobs' processes are forked from the campaign's, which has imported everything, so a start takes
a second; ``test_tools/test_run_benchmark.py`` has a smaller campaign with processes of its own.
"""

import argparse
import os
import runpy
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from mini_campaign import flags
from mini_data import write_set
from mini_runs import write_config
from mini_trust import assert_equal, learned
from released import FIXTURES, Released

from sotglp_mm.campaign import run as _campaign_run
from sotglp_mm.campaign import run_benchmark, summarize_runs
from sotglp_mm.campaign.files import LAST, RESULT, lock
from sotglp_mm.campaign.process import _die_with_parent

DATASETS = ['dtd', 'eurosat', 'oxford_pets']
SHOTS = ['1', '2']
EPOCHS = 3
VICTIM = 'eurosat/2shot/seed1'
"""The job that is killed: with two seeds the seventh of twelve."""

FILES = ('summary.md', 'summary.csv', 'summary.json', 'accuracy_vs_shots.png')


def write_minis(folder: Path) -> None:
    """Data, and a config for each dataset."""
    clip = Released(FIXTURES[0], folder).clip
    for name in DATASETS:
        mini = write_set(folder, name)
        write_config(folder / f'base_{name}.py', clip, 48, name, mini.classes)
        (folder / f'mini_{name}.py').write_text(f"""
_base_ = './base_{name}.py'
crop = dict(type='RandomResizedCrop', scale=48, crop_ratio_range=(0.2, 1.0), backend='pillow')
flip = dict(type='RandomFlip', prob=0.5)
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(dataset=dict(
    pipeline=[dict(type='LoadImageStrict'), crop, flip, dict(type='PackInputs')])))
test_dataloader = dict(num_workers=0, persistent_workers=False)
train_cfg = dict(max_epochs={EPOCHS}, val_interval=100)
param_scheduler = dict(T_max={EPOCHS})
""")


def fork(run: Callable[[], int], log_file: Path) -> int:
    """Run a function in a new process, its output in a file; the process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1), os.dup2(output, 2)
        status = run()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)


def run_forked(command: list[str], log_file: Path) -> int:
    """In the place of ``run_command``: the same script and flags, in a fork of this process."""
    ask_to_die = _die_with_parent()

    def run() -> int:
        ask_to_die()
        sys.argv = command[1:]
        runpy.run_path(command[1], run_name='__main__')
        return 0

    return os.waitstatus_to_exitcode(os.waitpid(fork(run, log_file), 0)[1])


def start(folder: Path, work_dir: Path, seeds: list[str]) -> int:
    """Start the campaign; its process id."""

    def run() -> int:
        _campaign_run.run_command = run_forked
        words = ['--shots', *SHOTS, '--seeds', *seeds]
        return run_benchmark.main([*words, *flags(folder, work_dir, DATASETS, options=[])])

    return fork(run, Path(f'{work_dir}.txt'))


def finish(folder: Path, work_dir: Path, seeds: list[str]) -> None:
    """Run the campaign to its end."""
    status = os.waitstatus_to_exitcode(os.waitpid(start(folder, work_dir, seeds), 0)[1])
    if status:
        sys.exit(f'a campaign failed:\n{Path(f"{work_dir}.txt").read_text()[-3000:]}')


def kill_in_the_middle(folder: Path, work_dir: Path, seeds: list[str]) -> dict[Path, int]:
    """Start the campaign and kill it; when each of the results that it left was written."""
    pid, job = start(folder, work_dir, seeds), work_dir / VICTIM
    while not (job / LAST).exists():
        if os.waitpid(pid, os.WNOHANG)[0]:
            sys.exit(f'ended early:\n{Path(f"{work_dir}.txt").read_text()[-3000:]}')
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    held = True
    while held:  # by the training, until it has ended as well
        with lock(job / '.lock') as mine:
            held = not mine
    assert not (job / f'epoch_{EPOCHS}.pth').exists(), 'it was to be killed in a training'
    return {file: file.stat().st_mtime_ns for file in work_dir.rglob(RESULT)}


def compare(work_dir: Path, expected: Path) -> int:
    """Assert that nothing differs; the number of jobs compared."""
    results = sorted(file.parent.relative_to(expected) for file in expected.rglob(RESULT))
    for job in results:
        last = f'epoch_{EPOCHS}.pth'
        assert_equal(learned(work_dir / job / last), learned(expected / job / last))
    for folder in (work_dir, expected):
        summarize_runs.main([str(folder)])
    for name in FILES:
        assert (work_dir / name).read_bytes() == (expected / name).read_bytes(), name
    return len(results)


def main() -> None:
    """Run, kill, start again, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--folder', type=Path, help='where to work (default: a temporary one)')
    parser.add_argument('--seeds', nargs='+', default=['1', '2'], help='of the campaign, with 1')
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix='kill_campaign_'))
    began = time.monotonic()
    torch.set_num_threads(1)
    os.environ['DATA'] = str(folder)
    write_minis(folder)
    finish(folder, folder / 'whole', args.seeds)
    done = kill_in_the_middle(folder, folder / 'killed', args.seeds)
    finish(folder, folder / 'killed', args.seeds)
    for file, written in done.items():
        assert file.stat().st_mtime_ns == written, f'{file} was done again'
    jobs = compare(folder / 'killed', folder / 'whole')
    print(
        f'killed after {len(done)} of {jobs} jobs, while the next trained: all parameters are '
        f'those of the undisturbed campaign, bit for bit, and {", ".join(FILES)} byte for byte '
        f'({time.monotonic() - began:.0f} s)'
    )


if __name__ == '__main__':
    main()

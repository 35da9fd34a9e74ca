"""Kill a campaign in the middle, start it again, and compare with one that nothing disturbed.

    python tests/kill_campaign.py                 # three miniature datasets, two shots, two seeds
    python tests/kill_campaign.py --in-process    # all jobs in the process of the campaign

Crops, flips and prompt dropout are drawn as ever. The campaign is killed with SIGKILL while a job
trains, once its first checkpoint is there. What was done must not be done again, and at the end
all learned parameters must be those of the undisturbed campaign, bit for bit, and its table and
plot byte for byte. Exit status 0 only then.

Processes are forked from this one, which has imported everything, so a start takes no time.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parent))

from mini_campaign import fork, run_forked, write_campaign
from mini_trust import assert_equal, learned
from released import FIXTURES, Released

from sotglp_mm.campaign import processes, run_campaign, summarize
from sotglp_mm.campaign.records import JOB_LOCK, RESULT

EPOCHS = 3


def start(folder: Path, work_dir: Path, settings: dict) -> int:
    """Start the campaign; its process id."""

    def run() -> int:
        processes.run_command = run_forked
        configs = f'{folder}/mini_{{dataset}}.py'
        return len(run_campaign(configs=configs, work_dir=work_dir, **settings))

    return fork(run, Path(f'{work_dir}.txt'))


def finish(folder: Path, work_dir: Path, settings: dict) -> None:
    """Run the campaign to its end."""
    status = os.waitstatus_to_exitcode(os.waitpid(start(folder, work_dir, settings), 0)[1])
    if status:
        sys.exit(f'a campaign failed:\n{Path(f"{work_dir}.txt").read_text()[-3000:]}')


def kill_in_the_middle(
    folder: Path, work_dir: Path, victim: str, settings: dict
) -> dict[Path, int]:
    """Start the campaign and kill it; when each of the results that it left was written."""
    pid, job = start(folder, work_dir, settings), work_dir / victim
    while not list(job.glob('epoch_*.pth')):
        if os.waitpid(pid, os.WNOHANG)[0]:
            sys.exit(f'ended early:\n{Path(f"{work_dir}.txt").read_text()[-3000:]}')
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with FileLock(job / JOB_LOCK):  # held by the training until it has ended as well
        assert not (job / f'epoch_{EPOCHS}.pth').exists(), 'it was to be killed in a training'
    return {file: file.stat().st_mtime_ns for file in work_dir.rglob(RESULT)}


def compare(work_dir: Path, expected: Path) -> int:
    """Assert that nothing differs; the number of jobs compared."""
    results = sorted(file.parent.relative_to(expected) for file in expected.rglob(RESULT))
    for job in results:
        last = f'epoch_{EPOCHS}.pth'
        assert_equal(learned(work_dir / job / last), learned(expected / job / last))
    for one, other in zip(summarize(work_dir), summarize(expected), strict=True):
        assert one.read_bytes() == other.read_bytes(), one
    return len(results)


def main() -> None:
    """Run, kill, start again, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--folder', type=Path, help='where to work (default: a temporary one)')
    parser.add_argument('--datasets', nargs='+', default=['alpha', 'beta', 'gamma'])
    parser.add_argument('--shots', nargs='+', type=int, default=[1, 2])
    parser.add_argument('--seeds', nargs='+', type=int, default=[1, 2])
    parser.add_argument('--in-process', action='store_true')
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix='kill_campaign_'))
    began = time.monotonic()
    torch.set_num_threads(1)
    os.environ['DATA'] = str(folder)
    write_campaign(folder, Released(FIXTURES[0], folder).clip, EPOCHS)
    settings = dict(datasets=args.datasets, shots=args.shots, seeds=args.seeds)
    settings['in_process'] = args.in_process
    victim = f'{args.datasets[1]}/{args.shots[-1]}shot/seed{args.seeds[0]}'
    finish(folder, folder / 'undisturbed', settings)
    done = kill_in_the_middle(folder, folder / 'killed', victim, settings)
    finish(folder, folder / 'killed', settings)
    for file, written in done.items():
        assert file.stat().st_mtime_ns == written, f'{file} was done again'
    jobs = compare(folder / 'killed', folder / 'undisturbed')
    print(
        f'killed after {len(done)} of {jobs} jobs, while the next trained: all parameters are '
        'those of the undisturbed campaign, bit for bit, and its tables and figure byte for byte '
        f'({time.monotonic() - began:.0f} s)'
    )


if __name__ == '__main__':
    main()

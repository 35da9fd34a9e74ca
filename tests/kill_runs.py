"""Kill a training at random moments, resume it until it is done, and compare.

    python tests/kill_runs.py --kills 20

A tiny CLIP learns with crops, flips and prompt dropout. ``sotglp train --resume`` is killed with
SIGKILL: at any moment, and while a checkpoint is written.
After every kill the folder must hold no broken checkpoint; at the end parameters, optimiser,
schedule, random states, every logged loss and metric, and which epoch is kept as the best, must be
those of a run that nothing disturbed, bit for bit, the repeated steps included. Exit status 0 only
then.

Processes are forked from this one, which has imported everything, so a start takes a second.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from mini_trust import assert_equal, learned, losses, metrics, trust_config
from process_group import fork
from released import FIXTURES, Released

from sotglp_cli import main as sotglp
from sotglp_mm.engine import latest_checkpoint

SLOW = 0.1
"""Seconds that a write is made to last, so that kills can hit it."""


def sync_slowly(descriptor: int, sync=os.fsync) -> None:
    """Half of the bytes in the file, and a pause."""
    data = Path(f'/proc/self/fd/{descriptor}').read_bytes()
    os.ftruncate(descriptor, len(data) // 2)
    time.sleep(SLOW)
    os.pwrite(descriptor, data[len(data) // 2 :], len(data) // 2)
    sync(descriptor)


def start(config: Path, work_dir: Path) -> int:
    """Fork a training; its process id. What it prints goes to ``<work dir>.txt``."""

    def run() -> int:
        os.fsync = sync_slowly
        return sotglp(['train', str(config), '--work-dir', str(work_dir), '--resume'])

    return fork(run, Path(f'{work_dir}.txt'))


def ended(pid: int, work_dir: Path) -> bool:
    """Has the process ended by itself? An error in it ends this program."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if found and status:
        sys.exit(f'a training failed:\n{Path(f"{work_dir}.txt").read_text()[-3000:]}')
    return bool(found)


def writes(work_dir: Path, pattern: str, since: float) -> bool:
    """Is such a file being written? What an earlier life left half written is older."""
    for file in work_dir.glob(pattern):
        try:
            if file.stat().st_mtime > since:
                return True
        except FileNotFoundError:
            pass  # it got its name just now
    return False


def live(config: Path, work_dir: Path, seconds: float, victim: str) -> tuple[bool, bool]:
    """Let a training live for some seconds, then until it writes ``victim``; kill it.

    Args:
        victim: A pattern of files in the work dir; '' kills at once.

    Returns:
        Was it killed, or had it ended before? Was a file being written?
    """
    born, end = time.time(), time.monotonic() + seconds
    pid = start(config, work_dir)
    while time.monotonic() < end or (victim and not writes(work_dir, victim, born)):
        if ended(pid, work_dir):
            return False, False
        time.sleep(0.002)
    if ended(pid, work_dir):
        return False, False
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True, writes(work_dir, '*.part', born)


def undisturbed(config: Path, work_dir: Path) -> tuple[float, float]:
    """The run to compare with; seconds to its first checkpoint, and from there to its end."""
    began, pid = time.monotonic(), start(config, work_dir)
    first = None
    while not ended(pid, work_dir):
        if first is None and any(work_dir.glob('*.part')):
            first = time.monotonic() - began
        time.sleep(0.002)
    return first, time.monotonic() - began - first


def disturbed(config: Path, work_dir: Path, kills: int, times: tuple, rng: random.Random) -> list:
    """Kill at most so often, then let it end; for each kill, whether a file was being written."""
    made: list[bool] = []
    while len(made) < kills:
        victim = ('*.pth.*.part', '')[len(made) % 2]
        earliest = 0 if victim == '' else times[0]
        seconds = rng.uniform(earliest, times[0] + 0.6 * times[1])
        killed, writing = live(config, work_dir, seconds, victim)
        if not killed:
            return made
        made.append(writing)
        found = latest_checkpoint(work_dir)
        assert not found.skipped, found.skipped
        whole = found.path.name if found.path else 'none'
        print(f'kill after {seconds:.2f} s, writing: {writing}, latest: {whole}', flush=True)
    live(config, work_dir, 1e9, '')
    return made


def compare(work_dir: Path, expected: Path) -> tuple[int, int]:
    """Assert that nothing differs; the numbers of losses and of validations compared."""
    last = latest_checkpoint(expected).path.name
    assert_equal(learned(work_dir / last), learned(expected / last))
    assert losses(work_dir) == losses(expected), 'a logged loss differs'
    assert metrics(expected), 'nothing was validated'
    assert metrics(work_dir) == metrics(expected), 'a metric differs'
    best = [[file.name for file in each.glob('best_*.pth')] for each in (work_dir, expected)]
    assert len(best[1]) == 1 and best[0] == best[1], f'best ones: {best[0]} instead of {best[1]}'
    return len(losses(expected)), len(metrics(expected))


def main() -> None:
    """Run, kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--epochs', type=int, default=10, help='of each run')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--folder', type=Path, help='where to work (default: a temporary one)')
    args = parser.parse_args()
    began, rng = time.monotonic(), random.Random(args.seed)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix='kill_runs_') as temporary:
        folder = args.folder or Path(temporary)
        config = trust_config(folder, Released(FIXTURES[0], folder).clip, args.epochs)
        compare_runs(config, folder, args.kills, rng, began)


def compare_runs(config: Path, folder: Path, kills: int, rng: random.Random, began: float) -> None:
    """All of it, in a folder."""
    with config.open('a') as file:  # as in the recipes, and the best one: files go, too
        keep = dict(interval=1, max_keep_ckpts=2, save_best='accuracy/top1')
        file.write(f'default_hooks = dict(checkpoint={keep!r})\n')
    times = undisturbed(config, folder / 'whole')
    made: list[bool] = []
    runs = steps = validations = 0
    while len(made) < kills:
        work_dir = folder / f'killed_{runs}'
        made += disturbed(config, work_dir, min(5, kills - len(made)), times, rng)
        compared = compare(work_dir, folder / 'whole')
        steps, validations = steps + compared[0], validations + compared[1]
        runs += 1
    print(
        f'{len(made)} kills in {runs} runs, {sum(made)} of them while a file was written: '
        f'all parameters, {steps} losses and the metrics of {validations} validations are those '
        f'of the undisturbed run, bit for bit ({time.monotonic() - began:.0f} s)'
    )


if __name__ == '__main__':
    main()

"""Train and test on many datasets, numbers of shots and seeds; then tools/summarize_runs.py.

    python tools/run_benchmark.py --datasets dtd eurosat --shots 1 16 --seeds 1 2 3
    python tools/run_benchmark.py --print-jobs > jobs.txt    # a line a job, for a scheduler

Each job has the folder WORK_DIR/<dataset>/<shots>shot/seed<seed>, with log.txt and, at its end,
result.json. Stopped or killed, it goes on where it was when it is run again. Several calls may
share a work dir: no job is run by two at a time.
"""

import argparse
import contextlib
import shlex
import signal
import sys
from pathlib import Path

from tqdm import tqdm

from ..datasets.known_sets import KNOWN_SETS
from ..utils import packaged_files
from .done import is_done
from .files import add_to_plan, lock
from .plan import Job, plan
from .run import JobFailed, run_job

DATASETS = [name for name, known in KNOWN_SETS.items() if known.kind == 'few_shot']


def _from_here(path: Path) -> str:
    """Short where it can be: a checkout's `configs/...`, or the whole path of an install's."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


CONFIGS = _from_here(packaged_files.CONFIGS / 'sotglp_vitb16_16shot_{dataset}.py')


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--datasets', nargs='+', default=DATASETS, help='default: the 11 few-shot sets')
    add('--shots', nargs='+', type=_positive, default=[1, 2, 4, 8, 16])
    add('--seeds', nargs='+', type=int, default=[1, 2, 3], help='of the draw and of training')
    add(
        '--configs',
        default=CONFIGS,
        help="path of a dataset's config, {dataset} standing for its name; imagenet's may lack "
        'the _{dataset}. Default: %(default)s',
    )
    add('--work-dir', type=Path, default=Path('work_dirs/benchmark'))
    add('--launcher', choices=['none', 'pytorch'], default='none')
    add(
        '--nproc',
        type=_positive,
        default=1,
        help="processes of a job, with --launcher pytorch; they share the config's batch",
    )
    add('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for every job')
    add('--print-jobs', action='store_true', help='run nothing; print a command for each open job')
    args = parser.parse_args(arguments)
    if args.nproc > 1 and args.launcher == 'none':
        parser.error('--nproc needs --launcher pytorch')
    for name in ('datasets', 'shots', 'seeds'):  # each once, in the order given
        setattr(args, name, list(dict.fromkeys(getattr(args, name))))
    return args


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {number}')
    return number


def job_line(job: Job, args: argparse.Namespace) -> str:
    """The command that runs this one job."""
    words = [
        'python',
        _from_here(packaged_files.TOOLS / 'run_benchmark.py'),
        '--datasets',
        job.dataset,
    ]
    words += ['--shots', str(job.shots), '--seeds', str(job.seed)]
    words += ['--configs', args.configs, '--work-dir', str(args.work_dir)]
    if args.launcher != 'none':
        words += ['--launcher', args.launcher, '--nproc', str(args.nproc)]
    if args.cfg_options:
        words += ['--cfg-options', *args.cfg_options]
    return shlex.join(words)


def launch_of(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """How a tool is started, and the flags that tell it."""
    if args.launcher == 'none':
        return [sys.executable], []
    # standalone: a free port, so that several campaigns fit on a machine
    launch = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    return [*launch, f'--nproc_per_node={args.nproc}'], ['--launcher', 'pytorch']


def run_jobs(jobs: list[Job], args: argparse.Namespace) -> int:
    """One after the other, a failing one included; the exit status."""
    failed, elsewhere = [], []
    tqdm.monitor_interval = 0  # its thread would not go well with starting processes
    with tqdm(jobs, desc='jobs', unit='job') as bar:
        for job in bar:
            with lock(job.folder / '.lock') as mine:
                if not mine:
                    elsewhere.append(job.name)
                    continue
                try:
                    tqdm.write(_run_one(job, args))
                except (JobFailed, OSError, ValueError) as error:
                    failed.append(job.name)
                    tqdm.write(f'{job.name}: FAILED, {error}')
    _report('failed', failed)
    _report('run by another campaign', elsewhere)
    print(f'Table: python tools/summarize_runs.py {shlex.quote(str(args.work_dir))}')
    return 1 if failed else 0


def _run_one(job: Job, args: argparse.Namespace) -> str:
    """The line that says how it went."""
    if is_done(job):  # by another campaign, since this one was planned
        return f'{job.name}: done by another campaign'
    metrics = run_job(job, *launch_of(args))['metrics']
    top1 = metrics.get('accuracy/top1')
    outcome = 'done' if top1 is None else f'top-1 {top1:.2f} %'
    note = f' (batch size {job.batch_size}, {job.batch_note})' if job.batch_note else ''
    return f'{job.name}: {outcome}{note}'


def _report(what: str, names: list[str]) -> None:
    if names:
        print(f'{len(names)} {what}:', *names, sep='\n  ')


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign; the exit status."""
    args = parse_args(arguments)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # --print-jobs prints its lines and no more
            jobs = plan(args)
            todo = [job for job in jobs if not is_done(job)]
            add_to_plan(args.work_dir, [job.key for job in jobs])
    except (ValueError, FileNotFoundError) as error:
        print(f'run_benchmark: {error}', file=sys.stderr)
        return 2
    if args.print_jobs:
        print(*(job_line(job, args) for job in todo), sep='\n', end='\n' if todo else '')
        return 0
    print(f'{len(jobs)} jobs in {args.work_dir}, {len(jobs) - len(todo)} done already')
    try:
        return run_jobs(todo, args)
    except KeyboardInterrupt:
        print('stopped; the same command goes on from here', file=sys.stderr)
        return 130


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's way of Ctrl-C
    sys.exit(main())

"""Run a campaign: job after job, each done once, however often it is stopped and started."""

import contextlib
import gc
import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from ..apis.config import load_config, parse_options
from ..apis.extract import cached_loaders, extract_command, store_features
from ..clip.load import sharing_towers
from ..datasets.few_shot_dataset import HALVES
from ..datasets.known_sets import KNOWN_SETS
from ..engine import latest_checkpoint
from ..features.baselines import BASELINES
from ..features.derived_config import CONFIG, derived_configs
from ..features.format import is_complete
from ..io.files import write_atomically
from ..io.json_file import read_json
from ..structures import BRANCHES
from ..utils.packaged_files import CONFIGS as CONFIG_FOLDER
from .plan import DRAW_BASE, Job, Key, check_as_planned, fill_pattern, find_config, plan_jobs
from .processes import InProcess, JobFailed, Processes
from .records import JOB_LOCK, LOG, RESULT, SETTINGS, add_to_plan, is_done, write_record

DATASETS = [name for name, known in KNOWN_SETS.items() if known.kind == 'few_shot']
DRAWN = ('num_shots', 'seed')
CONFIGS = str(CONFIG_FOLDER / 'sotglp_vitb16_16shot_{dataset}.py')
FEATURE_CONFIGS = f'configs/{{}}/{{{{dataset}}}}_{{{{shots}}}}shot_seed{{{{seed}}}}/{CONFIG}'


def run_campaign(
    datasets: Sequence[str] | None = None,
    shots: Sequence[int] = (1, 2, 4, 8, 16),
    seeds: Sequence[int] = (1, 2, 3),
    configs: str | None = None,
    work_dir: str | Path = 'work_dirs/benchmark',
    launcher: str = 'none',
    nproc: int = 1,
    cfg_options: Sequence[str] | None = None,
    features: str | Path | None = None,
    method: str | None = None,
    base_to_new: bool = False,
    transfer: Sequence[str] = (),
    in_process: bool | None = None,
    print_jobs: bool = False,
) -> list[str]:
    """Train and test on each dataset, with each number of shots and each seed.

    Each job has the folder ``WORK_DIR/<dataset>/<shots>shot/seed<seed>``, with ``log.txt`` and, at
    its end, ``result.json``. Stopped or killed, a campaign goes on where it was when it is run
    again. Several calls may share a work dir: no job is run by two at a time.

    Args:
        datasets: Names, which stand for ``{dataset}`` in ``configs``. None: ``DATASETS``, the 11
            few-shot sets.
        shots: Images of each class.
        seeds: Of the draw and of training.
        configs: Path of a job's config, with ``{dataset}``, ``{shots}`` and ``{seed}``; ImageNet's
            may lack the ``_{dataset}``. None: the ViT-B/16 configs.
        work_dir: Folder of all jobs.
        launcher: 'none' or 'pytorch'.
        nproc: Processes of a job, with ``launcher='pytorch'``; they share the config's batch.
        cfg_options: 'KEY=VALUE', for every job.
        features: Folder where image features are stored, if they are not there yet: those of the
            training images of each draw, and once for a dataset those of its test images. The jobs
            train and test from them. Campaigns of several methods may share it.
        method: One of :data:`BASELINES`, in the place of training: seconds for each job. Its
            settings are chosen on validation images, ``min(shots, 4)`` of each class.
        base_to_new: Train on the first half of the classes, and test on each half alone.
        transfer: Names of other datasets to test on as well, which have configs of the same
            pattern.
        in_process: Run all jobs in this process, which is faster; a crash of the interpreter then
            ends the campaign. None: those that train from stored features.
        print_jobs: Run nothing; print a command for each job that is not done.

    Returns:
        Names of the jobs that failed.

    Raises:
        ValueError: A setting cannot be used, or a job's folder was made with other settings.
    """
    work_dir, configs, cfg_options = Path(work_dir), configs or CONFIGS, cfg_options or ()
    if launcher == 'none' and nproc > 1:
        raise ValueError(f'nproc={nproc} needs launcher="pytorch"')
    if launcher != 'none' and in_process:
        raise ValueError('in_process=True runs one process; leave the launcher out')
    if method and method not in BASELINES:
        raise ValueError(f'method={method!r} is not known; choose one of {BASELINES}')
    if method and (base_to_new or transfer):
        raise ValueError(f'method={method!r} serves no classes but those of its training images')
    keys = list(dict.fromkeys(product(datasets or DATASETS, shots, seeds)))
    recipes = configs
    if features is not None:
        # a call with other options writes other files: those of a running campaign stay
        made_of = json.dumps([recipes, str(features), list(cfg_options), base_to_new])
        name = hashlib.sha256(made_of.encode()).hexdigest()[:8]
        configs = (work_dir / FEATURE_CONFIGS.format(name)).as_posix()
        drawn = DRAW_BASE if base_to_new else ()
        with contextlib.redirect_stdout(sys.stderr):
            _store_features(keys, transfer, recipes, Path(features), configs, cfg_options, drawn)
    with contextlib.redirect_stdout(sys.stderr):  # print_jobs prints its lines and no more
        targets = [(name, configs) for name in transfer]
        jobs = plan_jobs(
            *(keys, configs, work_dir, cfg_options, nproc, method or '', base_to_new, targets),
            recipes,
        )
        todo = [job for job in jobs if not is_done(job)]
        add_to_plan(work_dir, [job.key for job in jobs])
    if print_jobs:
        flags = ['--configs', configs, '--work-dir', str(work_dir)]
        flags += ['--launcher', launcher, '--nproc', str(nproc)] if launcher != 'none' else []
        flags += ['--method', method] if method else []
        flags += ['--base-to-new'] if base_to_new else []
        flags += ['--transfer', *transfer] if transfer else []
        if in_process is not None:
            flags.append('--in-process' if in_process else '--no-in-process')
        flags += ['--cfg-options', *cfg_options] if cfg_options else []
        for job in todo:
            own = ['--datasets', job.dataset, '--shots', str(job.shots), '--seeds', str(job.seed)]
            print(shlex.join(['sotglp', 'campaign', *own, *flags]))
        return []
    print(f'{len(jobs)} jobs in {work_dir}, {len(jobs) - len(todo)} done already')
    here, apart = InProcess(), Processes(launcher, nproc)

    def runner_of(job: Job) -> InProcess | Processes:
        wanted = job.stored and launcher == 'none' if in_process is None else in_process
        return here if wanted else apart

    # MMEngine collects garbage for each dataset; what is imported need not be walked each time
    gc.freeze()
    try:
        with sharing_towers():
            return _run_jobs(todo, runner_of, work_dir)
    finally:
        gc.unfreeze()


def _store_features(
    keys: list[Key],
    transfer: Sequence[str],
    recipes: str,
    features: Path,
    configs: str,
    cfg_options: Sequence[str],
    drawn: Sequence[str],
) -> None:
    """Store image features that are not there yet, and write the config of each job.

    Args:
        keys: Of the jobs.
        transfer: Datasets of which test images alone are needed.
        recipes: Pattern of the configs of images.
        features: Folder of all features.
        configs: Pattern of the configs to write.
        cfg_options: Of the campaign.
        drawn: Further options of the draw.
    """
    others = [(name, *key[1:]) for name in transfer for key in keys]
    features.mkdir(parents=True, exist_ok=True)
    with FileLock(features / '.lock'):  # another campaign may be storing them
        for key in dict.fromkeys([*keys, *others]):
            dataset, shots, seed = key
            config, out = find_config(recipes, *key), Path(fill_pattern(configs, *key)).parent
            tests = features / dataset / 'test'
            loaders = _stored(config, tests, [*cfg_options, 'train_dataloader=None'])
            options = parse_options(cfg_options)
            if key in keys:
                draw = [f'train_dataloader.dataset.{k}={v}' for k, v in zip(DRAWN, key[1:])]
                options = parse_options([*cfg_options, *drawn, *draw])
                images = features / dataset / f'{shots}shot{"_base" * bool(drawn)}' / f'seed{seed}'
                leave = ('val_dataloader=None', 'test_dataloader=None')
                loaders = _stored(config, images, [*cfg_options, *drawn, *draw, *leave]) | loaders
            loaders = {name: cache for name, cache in loaders.items() if options.get(name, cache)}
            for name, text in derived_configs(config, options, out, loaders).items():
                write_atomically(out / name, text)


def _stored(config: Path, out: Path, options: list[str]) -> dict[str, tuple[Path, str]]:
    """The cache and the split of each loader; features are stored first if they are not there."""
    cfg = load_config(config, parse_options(options))
    if not is_complete(out):
        store_features(cfg, out, extract_command(config, out, options=parse_options(options)))
    return cached_loaders(cfg, out)


def _run_jobs(
    jobs: list[Job], runner_of: Callable[[Job], InProcess | Processes], work_dir: Path
) -> list[str]:
    """One after the other, a failing one included; names of those."""
    failed: list[str] = []
    elsewhere: list[str] = []
    tqdm.monitor_interval = 0  # its thread would not go well with starting processes
    with tqdm(jobs, desc='jobs', unit='job') as bar:
        for job in bar:
            job.folder.mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(job.folder / JOB_LOCK, timeout=0):
                    tqdm.write(_run_one(job, runner_of(job)))
            except Timeout:
                elsewhere.append(job.name)
            except (JobFailed, OSError, ValueError) as error:
                failed.append(job.name)
                tqdm.write(f'{job.name}: FAILED, {error}')
    for title, names in (('failed', failed), ('run by another campaign', elsewhere)):
        if names:
            print(f'{len(names)} {title}:', *names, sep='\n  ')
    print(f'Table: sotglp summary {shlex.quote(str(work_dir))}')
    return failed


def _run_one(job: Job, runner: InProcess | Processes) -> str:
    """Train, or go on training; test the last epoch; write the result. A line on how it went."""
    if is_done(job):  # by another campaign, since this one was planned
        return f'{job.name}: done by another campaign'
    check_as_planned(job)
    write_record(job.folder / SETTINGS, {**job.describe(), 'settings': job.settings})
    note = f'batch size {job.batch_size}, {job.batch_note}' if job.batch_note else ''
    with (job.folder / LOG).open('a', encoding='utf-8') as log:
        log.write(f'{job.name}{note and "; "}{note}\n')
    metrics = InProcess().measure(job) if job.method else _train_and_test(job, runner)
    check_as_planned(job)  # hours later: training and test read the config, too
    result = {**job.describe(), 'metrics': dict(sorted(metrics.items()))}
    write_record(job.folder / RESULT, result)
    top1 = metrics.get('accuracy/top1')
    outcome = 'done' if top1 is None else f'top-1 {top1:.2f} %'
    return f'{job.name}: {outcome}' + (f' ({note})' if note else '')


def _train_and_test(job: Job, runner: InProcess | Processes) -> dict[str, float]:
    goal = job.folder / f'epoch_{job.epochs}.pth'
    # by what is on the disk: a job may have been killed before MMEngine's note was written
    if latest_checkpoint(job.folder).path != goal:
        runner.train(job)
    last = latest_checkpoint(job.folder).path
    if last != goal:
        raise JobFailed(f'training ended, and its last checkpoint is {last}; expected {goal}')
    if job.base_to_new:
        config = _write_base_and_new(job)
        seed = (f'randomness.seed={job.seed}',)
        metrics = _test(replace(job, config=config, options=seed), goal, runner)
    else:
        metrics = _test(job, goal, runner)
    for name, config in job.targets:
        of_target = _test(replace(job, config=config, options=job.test_options), goal, runner)
        for key, value in of_target.items():
            metric, _, item = key.partition('/')
            metrics[f'{metric}/{name}/{item}'] = value
    return metrics


def _write_base_and_new(job: Job) -> Path:
    """The config that tests a checkpoint of base classes, each half of the classes alone."""
    cfg = load_config(job.config, parse_options(job.test_options), job.folder)
    sets = dict.fromkeys(HALVES, cfg.test_dataloader.dataset)
    halves = {half: half for half in HALVES}
    cfg.test_dataloader.dataset = dict(type='EvaluationSets', sets=sets, classes=halves)
    cfg.test_evaluator = [dict(type='BranchAccuracy', branch=branch) for branch in BRANCHES]
    file = job.folder / 'base_and_new.json'
    write_atomically(file, json.dumps(cfg.to_dict(), indent=1) + '\n')
    return file


def _test(job: Job, checkpoint: Path, runner: InProcess | Processes) -> dict[str, float]:
    out = job.folder / 'test' / 'metrics.json'
    out.parent.mkdir(exist_ok=True)
    out.unlink(missing_ok=True)  # of an attempt that was killed, or of another test
    runner.test(job, checkpoint, out)
    try:
        return read_json(out)
    except (OSError, ValueError) as error:
        raise JobFailed(f'the test ended well and left no metrics in {out}: {error}') from error

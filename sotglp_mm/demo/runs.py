"""One run on the demo's data: train from stored features, test on images; what studies repeat.

A run is its settings; its result is kept in a file named by a hash of them and of the code, so a
study that is started again does only what is missing, and takes no result of other code.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from tqdm import tqdm

import sotglp_mm

from ..apis import extract
from ..apis.config import LOADERS, build_runner, load_config
from ..features.baselines import BASELINES, measure_baseline
from ..io.files import write_atomically
from ..io.json_file import read_json
from ..utils.packaged_files import CONFIGS

DATA_CONFIGS = {
    'scenes': CONFIGS / 'sotglp_demo_16shot.py',
    'digits': CONFIGS / 'sotglp_demo_16shot_digits.py',
}
UNSEEN = {'scenes': 'scenes', 'digits': 'letters'}
VIEWS = 8
DONE = '.done'
META_KEYS = ('sample_idx', 'img_shape', 'ori_shape', 'parts')
PACKAGES = ('clip', 'datasets', 'evaluation', 'features', 'functional', 'models')
"""What a result depends on."""


class DemoRun(NamedTuple):
    """Settings of a run."""

    dataset: str  # 'scenes' or 'digits'
    method: str  # stem of a config of configs/demo, or one of BASELINES
    seed: int  # of the few-shot draw, the prompts, and the order of the images
    split: str = 'test'  # 'val': accuracy alone; 'test': and unseen images, and the plan
    epochs: int = 30  # 0: nothing is learned
    options: str = '{}'  # dotted config keys and their values, as JSON


def run_all(runs: list[DemoRun], root: Path, workers: int, title: str) -> list[dict]:
    """Results of runs, in their order: from their files, or else made now, several at a time."""
    todo = [run for run in dict.fromkeys(runs) if not result_file(run, root).is_file()]
    reading = [run for run in todo if run.epochs or run.method in BASELINES]
    folders = {feature_folder(run, root): run for run in reading}
    draws = [(folder, run) for folder, run in folders.items() if not (folder / DONE).is_file()]
    _in_parallel(_extract, draws, workers, 'image features')
    _in_parallel(make_result, [(run, root) for run in todo], workers, title)
    return [read_json(result_file(run, root)) for run in runs]


def _in_parallel(function: Callable, calls: Iterable[tuple], workers: int, title: str) -> None:
    context = get_context('spawn')  # torch's threads do not survive a fork
    threads = (max((os.cpu_count() or 1) // workers, 1),)
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, threads) as pool:
        waiting = [pool.submit(function, *arguments) for arguments in calls]
        done = as_completed(waiting)
        for each in tqdm(done, title, len(waiting), unit='run', smoothing=0, disable=not waiting):
            each.result()


def result_file(run: DemoRun, root: Path) -> Path:
    """Where a result is kept: its name has a digest of settings, configs and code."""
    files = _method_file(run), DATA_CONFIGS[run.dataset]
    configs = [Config.fromfile(file).to_dict() for file in files]
    name = _digest(run._asdict(), configs, code_digest())[:16]
    return root / 'runs' / f'{run.dataset}-{run.method}-{name}.json'


def _method_file(run: DemoRun) -> Path:
    stem = 'zero_shot' if run.method in BASELINES else run.method
    return CONFIGS / 'demo' / f'{stem}.py'


def feature_folder(run: DemoRun, root: Path) -> Path:
    """Features of a few-shot draw: they depend on data, seed and code alone."""
    data = Config.fromfile(DATA_CONFIGS[run.dataset]).to_dict()
    name = _digest(data, VIEWS, code_digest())[:8]
    return root / 'features' / f'{run.dataset}_seed{run.seed}_{name}'


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@functools.cache
def code_digest() -> str:
    """Of the package's version and of the sources that numbers come from."""
    package = Path(sotglp_mm.__file__).parent
    digest = hashlib.sha256(sotglp_mm.__version__.encode())
    for name in PACKAGES:
        for file in sorted((package / name).rglob('*.py')):
            digest.update(file.relative_to(package).as_posix().encode() + b'\0')
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _extract(folder: Path, run: DemoRun) -> None:
    # only training reads features; tests draw their images
    options: dict = {'train_dataloader.dataset.seed': run.seed}
    options |= {'val_dataloader': None, 'test_dataloader': None}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        extract(DATA_CONFIGS[run.dataset], folder, VIEWS, workers=0, cfg_options=options)
    (folder / DONE).touch()


def make_result(run: DemoRun, root: Path) -> None:
    """Train, test, and write the result."""
    start = time.time()
    file = result_file(run, root)
    work_dir = root / 'work' / file.stem
    with contextlib.redirect_stdout(io.StringIO()):
        if run.method in BASELINES:
            metrics = measure(run, root, work_dir)
        else:
            checkpoint = train(run, root, work_dir) if run.epochs else None
            metrics = test(run, work_dir, checkpoint)
    shutil.rmtree(work_dir, ignore_errors=True)
    result = dict(run._asdict(), seconds=round(time.time() - start, 1), metrics=metrics)
    write_atomically(file, json.dumps(result, indent=1) + '\n')


def measure(run: DemoRun, root: Path, work_dir: Path) -> dict[str, float]:
    """A baseline, fitted to stored features; its settings are chosen on all validation images."""
    cfg = method_config(run, work_dir)
    stored = _load(feature_folder(run, root) / 'config.py', run, work_dir)
    cfg.train_dataloader = stored.train_dataloader
    metrics = measure_baseline(cfg, run.method, {**cfg.val_dataloader.dataset, 'split': 'val'})
    return {**metrics, 'accuracy/known/top1': metrics['accuracy/top1']}


def train(run: DemoRun, root: Path, work_dir: Path) -> Path:
    """Train from stored features; the checkpoint of the last epoch."""
    cfg = _load(feature_folder(run, root) / 'config.py', run, work_dir)
    method = method_config(run, work_dir)
    # set, not updated: that would mix the settings of two heads
    cfg.model.head = method.model.head
    cfg.model.neck = method.model.neck
    cfg.optim_wrapper = method.optim_wrapper
    cfg.train_cfg.update(max_epochs=run.epochs, val_interval=run.epochs)
    for name in ('val', 'test'):
        cfg.update({f'{name}_cfg': None, f'{name}_dataloader': None, f'{name}_evaluator': None})
    cfg.default_hooks.checkpoint.update(interval=run.epochs, save_last=True)
    build_runner(cfg).train()
    return work_dir / f'epoch_{run.epochs}.pth'


def test(run: DemoRun, work_dir: Path, checkpoint: Path | None) -> dict[str, float]:
    """Test on images."""
    cfg = method_config(run, work_dir)
    known = cfg.test_dataloader.dataset
    known.update(split=run.split, pipeline=[dict(type='PackInputs', meta_keys=META_KEYS)])
    cfg.test_evaluator = [
        dict(type='BranchAccuracy', branch=branch) for branch in ('combined', 'global', 'local')
    ]
    if run.split == 'test':
        _add_unseen(cfg, run)
    cfg.load_from = str(checkpoint) if checkpoint else None
    return build_runner(cfg).test()


def _add_unseen(cfg: Config, run: DemoRun) -> None:
    unseen = dict(type='DemoUnseenDataset', kind=UNSEEN[run.dataset])
    sets = dict(
        known=cfg.test_dataloader.dataset, unseen=dict(unseen, pipeline=[dict(type='PackInputs')])
    )
    cfg.test_dataloader.dataset = dict(type='EvaluationSets', sets=sets)
    has_local = cfg.model.head.get('num_local_prompts', 4) > 0
    cfg.model.head.ood_methods = ('mcm', 'l_mcm', 'gl_mcm') if has_local else ('mcm',)
    cfg.model.head.report_allocation = has_local
    cfg.test_evaluator += [dict(type='OODMetric'), dict(type='AllocationMetric')]


def method_config(run: DemoRun, work_dir: Path) -> Config:
    """The method's config, on the run's data, with the run's options."""
    cfg = _load(_method_file(run), run, work_dir, json.loads(run.options))
    data = _load(DATA_CONFIGS[run.dataset], run, work_dir)
    for name in LOADERS:
        cfg[name] = data[name]
    cfg.model.head.class_names = data.model.head.class_names
    return cfg


def _load(file: Path, run: DemoRun, work_dir: Path, options: dict | None = None) -> Config:
    """A config for this run, in this process."""
    cfg = load_config(file, options, work_dir)
    cfg.experiment_name = f'{work_dir.name}_{time.time_ns()}'
    cfg.log_level = 'ERROR'
    cfg.env_cfg.mp_cfg.mp_start_method = 'spawn'  # as these processes were started
    cfg.randomness = dict(seed=run.seed)
    for name in LOADERS:
        if cfg.get(name):
            cfg[name].update(num_workers=0, persistent_workers=False)
    return cfg

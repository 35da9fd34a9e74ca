"""One run on the demo's data: train from stored features, test on images; what compare.py repeats.

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
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from tqdm import tqdm

import sotglp_mm

from ..apis import extract_features
from ..io.files import write_atomically
from ..utils.packaged_files import CONFIGS

DATA_CONFIGS = {
    'scenes': CONFIGS / 'sotglp_demo_16shot.py',
    'digits': CONFIGS / 'sotglp_demo_16shot_digits.py',
}
UNSEEN = {'scenes': 'scenes', 'digits': 'letters'}
VIEWS = 8
META_KEYS = ('sample_idx', 'img_shape', 'ori_shape', 'parts')
ROOMS = ('models', 'functional', 'datasets', 'evaluation')
"""Of the package: what a result depends on."""

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


class DemoRun(NamedTuple):
    """Settings of a run."""

    dataset: str
    """'scenes' or 'digits'."""

    method: str
    """Stem of a config of ``configs/demo``."""

    seed: int
    """Of the few-shot draw, the prompts, and the order of the images."""

    split: str = 'test'
    """'val' (accuracy alone) or 'test' (and out-of-distribution images, and the plan)."""

    epochs: int = 30
    """0: nothing is learned."""

    options: str = '{}'
    """Dotted config keys and their values, as JSON."""


def run_all(runs: list[DemoRun], root: Path, workers: int, title: str) -> list[dict]:
    """Results of runs, in their order: from their files, or else made now, several at a time."""
    todo = [run for run in dict.fromkeys(runs) if not result_file(run, root).is_file()]
    if todo:
        _make_features(todo, root, workers)
        context = get_context('spawn')  # torch's threads do not survive a fork
        with ProcessPoolExecutor(workers, context, _start_worker, (workers,)) as pool:
            waiting = [pool.submit(make_result, run, root) for run in todo]
            with tqdm(total=len(todo), desc=title, unit='run', smoothing=0) as bar:
                for done in as_completed(waiting):
                    done.result()
                    bar.update()
    return [json.loads(result_file(run, root).read_text()) for run in runs]


def result_file(run: DemoRun, root: Path) -> Path:
    """Where a result is kept."""
    return root / 'runs' / f'{run.dataset}-{run.method}-{digest(run)}.json'


def digest(run: DemoRun) -> str:
    """Of the run's settings, of the configs of method and data, and of the code that runs."""
    files = CONFIGS / 'demo' / f'{run.method}.py', DATA_CONFIGS[run.dataset]
    configs = [Config.fromfile(file).to_dict() for file in files]
    found = [run._asdict(), configs, code_digest()]
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()[:16]


@functools.cache
def code_digest() -> str:
    """Of the package's version and of the sources that numbers come from."""
    package = Path(sotglp_mm.__file__).parent
    found = hashlib.sha256(sotglp_mm.__version__.encode())
    for room in ROOMS:
        for file in sorted((package / room).rglob('*.py')):
            found.update(file.relative_to(package).as_posix().encode() + b'\0')
            found.update(file.read_bytes())
    return found.hexdigest()


def make_result(run: DemoRun, root: Path) -> None:
    """Train, test, and write the result."""
    start = time.time()
    file = result_file(run, root)
    work_dir = root / 'work' / file.stem
    with contextlib.redirect_stdout(io.StringIO()):
        checkpoint = train(run, root, work_dir) if run.epochs else None
        metrics = test(run, work_dir, checkpoint)
    shutil.rmtree(work_dir, ignore_errors=True)
    result = dict(run._asdict(), seconds=round(time.time() - start, 1), metrics=metrics)
    write_atomically(file, json.dumps(result, indent=1) + '\n')


def train(run: DemoRun, root: Path, work_dir: Path) -> Path:
    """Train from stored features; the checkpoint of the last epoch."""
    cfg = Config.fromfile(feature_folder(run, root) / 'config.py')
    method = method_config(run)
    # set, not updated: that would mix the settings of two heads
    cfg.model.head = method.model.head
    cfg.model.neck = method.model.neck
    cfg.optim_wrapper = method.optim_wrapper
    cfg.train_cfg.update(max_epochs=run.epochs, val_interval=run.epochs)
    cfg.param_scheduler.T_max = run.epochs
    for name in ('val', 'test'):
        cfg.update({f'{name}_cfg': None, f'{name}_dataloader': None, f'{name}_evaluator': None})
    cfg.default_hooks.checkpoint.update(interval=run.epochs, save_last=True)
    _finish(cfg, run, work_dir)
    Runner.from_cfg(cfg).train()
    return work_dir / f'epoch_{run.epochs}.pth'


def test(run: DemoRun, work_dir: Path, checkpoint: Path | None) -> dict[str, float]:
    """Test on images."""
    cfg = method_config(run)
    known = cfg.test_dataloader.dataset
    known.update(split=run.split, pipeline=[dict(type='PackInputs', meta_keys=META_KEYS)])
    cfg.test_evaluator = [
        dict(type='BranchAccuracy', branch=branch) for branch in ('combined', 'global', 'local')
    ]
    if run.split == 'test':
        _add_unseen(cfg, run)
    cfg.load_from = str(checkpoint) if checkpoint else None
    _finish(cfg, run, work_dir)
    return Runner.from_cfg(cfg).test()


def _add_unseen(cfg: Config, run: DemoRun) -> None:
    unseen = dict(
        type='DemoUnseenDataset', kind=UNSEEN[run.dataset], pipeline=[dict(type='PackInputs')]
    )
    known = cfg.test_dataloader.dataset
    cfg.test_dataloader.dataset = dict(
        type='EvaluationSets', sets=dict(known=known, unseen=unseen)
    )
    has_local = cfg.model.head.get('num_local_prompts', 4) > 0
    cfg.model.head.ood_methods = ('mcm', 'l_mcm', 'gl_mcm') if has_local else ('mcm',)
    cfg.model.head.report_allocation = has_local
    cfg.test_evaluator += [dict(type='OODMetric'), dict(type='AllocationMetric')]


def method_config(run: DemoRun) -> Config:
    """The method's config, on the run's data, with the run's options."""
    cfg = Config.fromfile(CONFIGS / 'demo' / f'{run.method}.py')
    data = Config.fromfile(DATA_CONFIGS[run.dataset])
    for name in LOADERS:
        cfg[name] = data[name]
    cfg.model.head.class_names = data.model.head.class_names
    cfg.merge_from_dict(json.loads(run.options))
    return cfg


def _finish(cfg: Config, run: DemoRun, work_dir: Path) -> None:
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'{work_dir.name}_{time.time_ns()}'
    cfg.log_level = 'ERROR'
    cfg.env_cfg.mp_cfg.mp_start_method = 'spawn'  # as these processes were started
    cfg.randomness = dict(seed=run.seed)
    for name in LOADERS:
        if cfg.get(name):
            cfg[name].update(num_workers=0, persistent_workers=False)


def feature_folder(run: DemoRun, root: Path) -> Path:
    """Features of a few-shot draw: they depend on data, seed and code alone."""
    data = Config.fromfile(DATA_CONFIGS[run.dataset]).to_dict()
    made_of = json.dumps([data, VIEWS, code_digest()], sort_keys=True, default=str)
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:8]
    return root / 'features' / f'{run.dataset}_seed{run.seed}_{digest}'


def _make_features(runs: list[DemoRun], root: Path, workers: int) -> None:
    folders = {feature_folder(run, root): run for run in runs if run.epochs}
    todo = {folder: run for folder, run in folders.items() if not (folder / '.done').is_file()}
    if not todo:
        return
    context = get_context('spawn')
    with ProcessPoolExecutor(workers, context, _start_worker, (workers,)) as pool:
        waiting = [pool.submit(_extract, folder, run) for folder, run in todo.items()]
        for done in tqdm(as_completed(waiting), 'image features', len(waiting), unit='draw'):
            done.result()


def _extract(folder: Path, run: DemoRun) -> None:
    arguments = [DATA_CONFIGS[run.dataset], '--out', folder, '--views', VIEWS, '--workers', 0]
    # only training reads features; tests draw their images
    options = [f'train_dataloader.dataset.seed={run.seed}']
    options += [f'{name}_dataloader=None' for name in ('val', 'test')]
    arguments += ['--cfg-options', *options]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        extract_features.main([str(each) for each in arguments])
    (folder / '.done').touch()


def _start_worker(workers: int) -> None:
    torch.set_num_threads(max((os.cpu_count() or 1) // workers, 1))

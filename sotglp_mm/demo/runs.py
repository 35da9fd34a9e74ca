"""One run of a study: train from stored features, and test.

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
from mmpretrain.registry import DATASETS
from tqdm import tqdm

import sotglp_mm

from ..apis import extract
from ..apis.config import LOADERS, build_runner, load_config
from ..datasets.data_identity import describe_data
from ..features.baselines import BASELINES, measure_baseline
from ..io.files import write_atomically
from ..io.json_file import read_json
from ..structures import BRANCHES
from ..utils.packaged_files import CONFIGS

DATA_CONFIGS = {
    'scenes': CONFIGS / 'sotglp_demo_16shot.py',
    'digits': CONFIGS / 'sotglp_demo_16shot_digits.py',
    'eurosat': CONFIGS / 'photos' / 'sotglp_eurosat.py',
    'caltech101': CONFIGS / 'photos' / 'sotglp_caltech101.py',
}
UNSEEN = {'scenes': 'scenes', 'digits': 'letters'}
"""Kinds of unseen images. Other sets are read from files: these are tested from stored features,
without unseen images."""

VIEWS = 8
DONE = '.done'
META_KEYS = ('sample_idx', 'img_shape', 'ori_shape', 'parts')
TOP1 = ('accuracy/top1', 'accuracy_global/top1', 'accuracy_local/top1')
WITHOUT_EFFECT = ('campaign', 'visualization')
"""Packages that no result depends on."""


class DemoRun(NamedTuple):
    """Settings of a run."""

    dataset: str  # of DATA_CONFIGS
    method: str  # stem of a config of configs/demo, or one of BASELINES
    seed: int  # of the few-shot draw, the prompts, and the order of the images
    split: str = 'test'  # 'val': accuracy alone; 'test': and unseen images, and the plan
    epochs: int = 30  # 0: nothing is learned
    options: str = '{}'  # dotted config keys and their values, as JSON


def run_all(runs: list[DemoRun], root: Path, workers: int, title: str) -> list[dict]:
    """Results of runs, in their order: from their files, or else made now, several at a time."""
    todo = [run for run in dict.fromkeys(runs) if not result_file(run, root).is_file()]
    folders = {
        feature_folder(run, root, split): (run, split)
        for run in todo
        for split in splits_read(run)
    }
    missing = [(folder, *of) for folder, of in folders.items() if not (folder / DONE).is_file()]
    _in_parallel(_extract, missing, workers, 'image features')
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
    name = _digest(run._asdict(), configs, code_digest(), images_digest(run.dataset))[:16]
    return root / 'runs' / f'{run.dataset}-{run.method}-{name}.json'


def _method_file(run: DemoRun) -> Path:
    stem = 'zero_shot' if run.method in BASELINES else run.method
    return CONFIGS / 'demo' / f'{stem}.py'


def splits_read(run: DemoRun) -> list[str]:
    """Splits of which a run reads stored features."""
    splits = ['train'] if run.epochs or run.method in BASELINES else []
    if run.dataset not in UNSEEN:
        splits += ['val', 'test'] if run.method in BASELINES else [run.split]
    return splits


def feature_folder(run: DemoRun, root: Path, split: str = 'train') -> Path:
    """Features of a few-shot draw or of another split; data, seed and code decide them."""
    data = Config.fromfile(DATA_CONFIGS[run.dataset]).to_dict()
    name = _digest(data, VIEWS, code_digest(), images_digest(run.dataset))[:8]
    which = f'seed{run.seed}' if split == 'train' else split
    return root / 'features' / f'{run.dataset}_{which}_{name}'


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@functools.cache
def code_digest() -> str:
    """Of the package's version, and of the sources, lists and weights that numbers come from."""
    package = Path(sotglp_mm.__file__).parent
    digest = hashlib.sha256(sotglp_mm.__version__.encode())
    for file in sorted(package.rglob('*.*')):
        place = file.relative_to(package)
        if file.is_file() and file.suffix != '.pyc' and place.parts[0] not in WITHOUT_EFFECT:
            digest.update(place.as_posix().encode() + b'\0')
            digest.update(file.read_bytes())
    return digest.hexdigest()


@functools.cache
def images_digest(dataset: str) -> str:
    """Of the files of a set, which its config names by their place; '' of drawn images."""
    if dataset in UNSEEN:
        return ''
    settings = Config.fromfile(DATA_CONFIGS[dataset]).test_dataloader.dataset
    sets = [DATASETS.build({**settings, 'split': split}) for split in ('train', 'val', 'test')]
    return _digest([describe_data(each, {})[0]['samples_sha256'] for each in sets])


def _extract(folder: Path, run: DemoRun, split: str) -> None:
    if split == 'train':
        options: dict = {'train_dataloader.dataset.seed': run.seed}
        options |= {'val_dataloader': None, 'test_dataloader': None}
    else:
        options = {'train_dataloader': None, 'val_dataloader': None}
        options |= {'test_dataloader.dataset.split': split}
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
            metrics = test(run, root, work_dir, checkpoint)
    shutil.rmtree(work_dir, ignore_errors=True)
    result = dict(run._asdict(), seconds=round(time.time() - start, 1), metrics=metrics)
    write_atomically(file, json.dumps(result, indent=1) + '\n')


def measure(run: DemoRun, root: Path, work_dir: Path) -> dict[str, float]:
    """A baseline, fitted to stored features; its settings are chosen on all validation images."""
    cfg = method_config(run, work_dir)
    val = {**cfg.val_dataloader.dataset, 'split': 'val'}
    cfg.train_dataloader = _stored(run, root, work_dir, 'train').train_dataloader
    if run.dataset not in UNSEEN:
        cfg.test_dataloader = _stored(run, root, work_dir, 'test').test_dataloader
        val = _stored(run, root, work_dir, 'val').test_dataloader.dataset
    metrics = measure_baseline(cfg, run.method, val)
    return {**metrics, 'accuracy/known/top1': metrics['accuracy/top1']}


def _stored(run: DemoRun, root: Path, work_dir: Path, split: str) -> Config:
    """The config of the stored features of a split."""
    return _load(feature_folder(run, root, split) / 'config.py', run, work_dir)


def train(run: DemoRun, root: Path, work_dir: Path) -> Path:
    """Train from stored features; the checkpoint of the last epoch."""
    cfg = _stored(run, root, work_dir, 'train')
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


def test(run: DemoRun, root: Path, work_dir: Path, checkpoint: Path | None) -> dict[str, float]:
    """Test on drawn images, or on the stored features of files."""
    cfg = method_config(run, work_dir)
    cfg.test_evaluator = [dict(type='BranchAccuracy', branch=branch) for branch in BRANCHES]
    if run.dataset in UNSEEN:
        pipeline = [dict(type='PackInputs', meta_keys=META_KEYS)]
        cfg.test_dataloader.dataset.update(split=run.split, pipeline=pipeline)
    else:
        stored = _stored(run, root, work_dir, run.split)
        cfg.test_dataloader = stored.test_dataloader
        cfg.model.update({part: stored.model[part] for part in ('backbone', 'data_preprocessor')})
    if run.split == 'test':
        has_local = cfg.model.head.get('num_local_prompts', 4) > 0
        cfg.model.head.report_allocation = has_local
        cfg.test_evaluator.append(dict(type='AllocationMetric'))
        if run.dataset in UNSEEN:
            _add_unseen(cfg, UNSEEN[run.dataset], has_local)
    cfg.load_from = str(checkpoint) if checkpoint else None
    metrics = build_runner(cfg).test()
    # where there are no unseen images, all are known
    return {
        **{key.replace('/', '/known/'): metrics[key] for key in TOP1 if key in metrics},
        **metrics,
    }


def _add_unseen(cfg: Config, kind: str, has_local: bool) -> None:
    unseen = dict(type='DemoUnseenDataset', kind=kind)
    sets = dict(
        known=cfg.test_dataloader.dataset, unseen=dict(unseen, pipeline=[dict(type='PackInputs')])
    )
    cfg.test_dataloader.dataset = dict(type='EvaluationSets', sets=sets)
    cfg.model.head.ood_methods = ('mcm', 'l_mcm', 'gl_mcm') if has_local else ('mcm',)
    cfg.test_evaluator.append(dict(type='OODMetric'))


def method_config(run: DemoRun, work_dir: Path) -> Config:
    """The method's config, on the run's data, with the run's options."""
    cfg = _load(_method_file(run), run, work_dir, json.loads(run.options))
    data = _load(DATA_CONFIGS[run.dataset], run, work_dir)
    for name in LOADERS:
        cfg[name] = data[name]
    cfg.model.clip = data.model.clip
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

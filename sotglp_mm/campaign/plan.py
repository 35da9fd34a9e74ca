"""What a campaign will do: one job for each dataset, number of shots and seed."""

import hashlib
import json
import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..apis.config import LOADERS, load_config, parse_options
from ..class_names.resolve import resolve_class_names
from ..engine.exact_resume import SPEED
from ..features.format import MADE, read_manifest
from ..io.json_file import as_json, differences, flat
from ..utils.packaged_files import CONFIGS

Key = tuple[str, int, int]
"""Dataset, shots, seed."""

SET_BY_FLAG = {
    'train_dataloader.dataset.num_shots': '--shots',
    'train_dataloader.dataset.seed': '--seeds',
    'randomness.seed': '--seeds',
}
KEYS_WITHOUT_EFFECT = (
    *('custom_imports', 'default_hooks', 'env_cfg', 'launcher', 'log_level', 'log_processor'),
    *('resume', 'vis_backends', 'visualizer', 'work_dir'),
)
"""Parts of a config that decide what is logged or kept, not what comes out."""

STORED = 'CachedFeatureDataset'

SERVES_OTHERS = 'model.head.load_shared=text'
"""Classes without prompts of their own have CLIP's text in the local branch."""

DRAW_BASE = (
    'train_dataloader.dataset.classes=base',
    *('val_cfg=None', 'val_dataloader=None', 'val_evaluator=None'),  # of all classes
)
"""Options that draw base classes alone; stored features are of these already."""

NAME_BASE = 'model.head.class_names=dataset'
"""Option of a training on base classes."""


@dataclass(frozen=True)
class Job:
    """One training and its test."""

    dataset: str
    shots: int
    seed: int
    config: Path
    recipe: Path  # the config of images that ``config`` comes from, where it is of stored features
    user_options: tuple[str, ...]  # --cfg-options of the campaign
    options: tuple[str, ...]  # all that training and test are given
    folder: Path
    epochs: int
    batch_size: int  # of all processes together
    batch_note: str  # why it is not the config's; '' where it is
    sampling: str
    settings: dict[str, Any]  # the merged config, flat
    stored: bool  # whether it trains from stored features
    validates: bool  # whether the training depends on what is evaluated on the way
    method: str = ''  # a baseline in the place of training; '': none
    base_to_new: bool = False  # train on base classes, test on these and on the new ones
    targets: tuple[tuple[str, Path], ...] = ()  # other datasets to test on, and their configs

    @property
    def name(self) -> str:
        return f'{self.dataset}, {self.shots} shot{"s" * (self.shots > 1)}, seed {self.seed}'

    @property
    def key(self) -> Key:
        return self.dataset, self.shots, self.seed

    @property
    def test_options(self) -> tuple[str, ...]:
        """Options of a test on classes that were not trained."""
        return *self.user_options, f'randomness.seed={self.seed}', SERVES_OTHERS

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict:
        """What both files of the job begin with."""
        return dict(
            dataset=self.dataset,
            shots=self.shots,
            seed=self.seed,
            config=self.recipe.as_posix(),
            cfg_options=list(self.user_options),
            epochs=self.epochs,
            batch_size=self.batch_size,
            batch_size_note=self.batch_note,
            sampling=self.sampling,
            settings_sha256=self.digest,
            **(dict(method=self.method) if self.method else {}),
            **(dict(targets=[name for name, _ in self.targets]) if self.targets else {}),
        )


def plan_jobs(
    keys: Sequence[Key],
    configs: str,
    work_dir: Path,
    cfg_options: Sequence[str],
    nproc: int,
    method: str = '',
    base_to_new: bool = False,
    transfer: Sequence[tuple[str, str]] = (),
    recipes: str = '',
) -> list[Job]:
    """All jobs of a campaign.

    ``recipes`` is the pattern of the configs of images that ``configs`` come from; the other
    arguments are those of :func:`run_campaign`.
    """
    for option in parse_options(cfg_options):
        if option in SET_BY_FLAG:
            raise ValueError(
                f'--cfg-options {option}: a campaign sets it by {SET_BY_FLAG[option]}'
            )
    loaded: dict[Path, Config] = {}
    jobs = []
    for key in keys:
        path = find_config(configs, *key)
        more = _base_options(path) if base_to_new else ()
        if path not in loaded:
            loaded[path] = load_config(path, parse_options([*cfg_options, *more]))
        job = _make_job(loaded[path], path, key, work_dir, cfg_options, nproc, more)
        changes: dict[str, Any] = dict(recipe=find_config(recipes or configs, *key))
        if method:  # nothing is trained: no epochs, no batches
            changes |= dict(method=method, epochs=0, batch_note='')
            job.settings['method'] = method
        if base_to_new:
            changes['base_to_new'] = job.settings['base_to_new'] = True
        if transfer:
            targets = tuple((name, find_config(each, name, *key[1:])) for name, each in transfer)
            changes['targets'] = targets
            job.settings.update(_settings_of_targets(job, targets))
        jobs.append(replace(job, **changes))
    return jobs


def check_as_planned(job: Job) -> None:
    """Refuse a job whose config is not what it was planned with: it would train other settings.

    Raises:
        ValueError: Config, or stored features, changed since.
    """
    cfg = load_config(job.config, parse_options(job.options))
    cfg.train_dataloader.batch_size = job.batch_size
    marks: dict[str, Any] = {
        key: job.settings[key] for key in ('method', 'base_to_new') if key in job.settings
    }
    now = {**flat_settings(cfg), **marks, **_settings_of_targets(job, job.targets)}
    for key, planned, found in sorted(differences(job.settings, now), key=str)[:1]:
        raise ValueError(
            f'{job.config} changed since the campaign began: {key} was {planned} and is {found}. '
            'Undo the change, or take another --work-dir for other settings, and run the campaign '
            'again'
        )


def _base_options(path: Path) -> tuple[str, ...]:
    dataset = Config.fromfile(path).train_dataloader.dataset
    if dataset.type != STORED:
        return *DRAW_BASE, NAME_BASE
    if (dataset.get('source') or {}).get('classes') != 'base':
        raise ValueError(
            f'{path} has stored features of all classes, and this job trains on base classes. Let '
            '--features store theirs'
        )
    return (NAME_BASE,)


def _settings_of_targets(job: Job, targets: Sequence[tuple[str, Path]]) -> dict[str, Any]:
    return {
        f'transfer.{name}.{key}': value
        for name, path in targets
        for key, value in flat_settings(load_config(path, parse_options(job.test_options))).items()
        if key.startswith(('model.', 'test_'))
    }


def find_config(pattern: str, dataset: str, shots: int, seed: int) -> Path:
    """The config of a job; ImageNet's recipe is the one without a dataset in its name."""
    patterns = [pattern]
    if dataset == 'imagenet':
        patterns.append(pattern.replace('_{dataset}', ''))
    candidates = [fill_pattern(each, dataset, shots, seed) for each in patterns]
    for candidate in candidates:
        if Path(candidate).is_file():
            return Path(candidate)
    raise FileNotFoundError(
        f'no config for dataset {dataset!r}: expected {" or ".join(candidates)}, seen from '
        f'{Path.cwd()}. Write one, name other --datasets, or say with --configs where they are, '
        '{dataset}, {shots} and {seed} standing for those of a job'
    )


def fill_pattern(pattern: str, dataset: str, shots: int, seed: int) -> str:
    """Put a job's values in the place of ``{dataset}``, ``{shots}`` and ``{seed}``."""
    for name, value in (('dataset', dataset), ('shots', shots), ('seed', seed)):
        pattern = pattern.replace(f'{{{name}}}', str(value))
    return pattern


def _make_job(
    cfg: Config,
    path: Path,
    key: Key,
    work_dir: Path,
    user_options: Sequence[str],
    nproc: int,
    more: Sequence[str],
) -> Job:
    dataset, shots, seed = key
    drawn = _few_shot_settings(cfg, path, shots, seed)
    stored = cfg.train_dataloader.dataset.type == STORED
    options = [f'randomness.seed={seed}']
    if not stored:
        options += [f'train_dataloader.dataset.{k}={drawn[k]}' for k in ('num_shots', 'seed')]
    if (cfg.get('optim_wrapper') or {}).get('dtype') == 'auto':
        raise ValueError(
            f"{path}: optim_wrapper.dtype='auto' is a measurement in each job, and jobs of one "
            "campaign have to train in one precision. Set 'float16', 'bfloat16' or 'float32'"
        )
    wanted, head = cfg.train_dataloader.batch_size, cfg.model.head
    names = head.get('class_names')
    # MMPretrain's own heads have no names
    num_classes = head.num_classes if names is None else len(resolve_class_names(names))
    each, note = batch_for(wanted, shots * num_classes, nproc)
    cfg = deepcopy(cfg)
    cfg.merge_from_dict(parse_options(options))
    # of all processes together: that is what a result depends on
    cfg.train_dataloader.batch_size = each * nproc
    if each != wanted:
        options.append(f'train_dataloader.batch_size={each}')
    return Job(
        *key,
        config=path,
        recipe=path,
        user_options=tuple(user_options),
        options=(*user_options, *more, *options),
        folder=work_dir / dataset / f'{shots}shot' / f'seed{seed}',
        epochs=cfg.train_cfg.max_epochs,
        batch_size=each * nproc,
        batch_note=note,
        sampling=drawn.get('sampling', 'per_class'),
        settings=flat_settings(cfg),
        stored=stored,
        validates=_depends_on_validation(cfg),
    )


def _depends_on_validation(cfg: Config) -> bool:
    """Whether any part of a training might read metrics of validation.

    A job counts its last epoch, so without one, validation is time and a line in the log. Hooks
    other than the package's might stop a training, for example.
    """
    ours = Config.fromfile(CONFIGS / '_base_' / 'default_runtime.py').default_hooks.values()
    hooks = [*cfg.get('default_hooks', {}).values(), *(cfg.get('custom_hooks') or [])]
    foreign = {hook['type'] for hook in hooks if hook} - {hook['type'] for hook in ours}
    best = any(hook.get('save_best') for hook in hooks if hook)
    return bool(foreign or best or 'Plateau' in str(cfg.get('param_scheduler')))


def _few_shot_settings(cfg: Config, path: Path, shots: int, seed: int) -> dict[str, Any]:
    """Settings of the ``FewShotDataset``; stored features hold the images of one draw."""
    dataset = cfg.train_dataloader.dataset
    wanted = {'num_shots': shots, 'seed': seed}
    if (dataset.get('source') or dataset).get('files'):
        raise ValueError(
            f'{path}: train_dataloader.dataset.files names one draw for all jobs, and a campaign '
            'draws by --shots and --seeds. Leave files out'
        )
    if dataset.type == STORED:
        drawn = dataset.get('source') or {}
        found = {key: drawn.get(key) for key in wanted}
        if found != wanted:
            raise ValueError(
                f'{path} has stored features of a draw with {found}, and this job is of {wanted}. '
                'Let --features store those of each draw'
            )
        return drawn
    if 'num_shots' not in dataset and dataset.type != 'FewShotDataset':
        raise ValueError(
            f'{path}: train_dataloader.dataset is a {dataset.type}, which draws no shots; a '
            'campaign sets num_shots and seed, so it needs a FewShotDataset'
        )
    return {**dataset, **wanted}


def batch_for(wanted: int, images: int, processes: int) -> tuple[int, str]:
    """Batch size of one process, and why the total is not the config's.

    Recipes drop incomplete batches: one larger than the few-shot set would leave none.
    """
    notes = []
    if wanted > images:
        notes.append(f'capped from {wanted}: the few-shot set has {images} images at most')
    total = min(wanted, images)
    each = max(1, total // processes)
    if each * processes != total:
        notes.append(f'{total} does not divide evenly among {processes} processes')
    return each, '; '.join(notes)


def flat_settings(cfg: Config) -> dict[str, Any]:
    """All that may decide a result, by dotted key; the same wherever the data are."""
    kept = {key: value for key, value in cfg.to_dict().items() if key not in KEYS_WITHOUT_EFFECT}
    for name in LOADERS:
        if kept.get(name):
            kept[name] = {k: v for k, v in kept[name].items() if k not in SPEED}
    return {key: _placeless(key, value) for key, value in flat(as_json(kept)).items()}


def _placeless(key: str, value: Any) -> Any:
    root = os.environ.get('DATA', 'data')
    if key.endswith('.cache'):  # its content decides, not its place
        content = {k: v for k, v in read_manifest(value).items() if k != MADE}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if isinstance(value, str) and (value == root or value.startswith(f'{root}/')):
        return f'$DATA{value[len(root) :]}'
    return value

"""What a campaign will do: one job for each dataset, number of shots and seed."""

import argparse
import copy
import hashlib
import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from mmengine.config import Config, DictAction

from ..apis.config import FROM_DATASET, class_names_of_dataset
from ..class_names.resolve import resolve_class_names
from .settings import flat_settings

FOLLOW_FROM_FLAGS = {
    'train_dataloader.dataset.num_shots': '--shots',
    'train_dataloader.dataset.seed': '--seeds',
    'randomness.seed': '--seeds',
}


@dataclass(frozen=True)
class Job:
    """One training and its test."""

    dataset: str
    shots: int
    seed: int
    config: Path
    user_options: tuple[str, ...]
    """``--cfg-options`` of the campaign."""
    options: tuple[str, ...]
    """All that train.py and test.py are given."""
    folder: Path
    epochs: int
    batch_size: int
    """Of all processes together."""
    batch_note: str
    """Why it is not the config's; '' where it is."""
    settings: dict
    """The whole config, flat."""

    @property
    def name(self) -> str:
        """For people."""
        return f'{self.dataset}, {self.shots} shot{"s" * (self.shots > 1)}, seed {self.seed}'

    @property
    def key(self) -> tuple[str, int, int]:
        """For programs."""
        return self.dataset, self.shots, self.seed

    @property
    def digest(self) -> str:
        """Of the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict:
        """What both files of the job begin with."""
        return {
            'dataset': self.dataset,
            'shots': self.shots,
            'seed': self.seed,
            'config': self.config.as_posix(),
            'cfg_options': list(self.user_options),
            'epochs': self.epochs,
            'batch_size': self.batch_size,
            'batch_size_note': self.batch_note,
            'sampling': self.settings.get('train_dataloader.dataset.sampling', 'per_class'),
            'settings_sha256': self.digest,
        }


def plan(args: argparse.Namespace) -> list[Job]:
    """All jobs that the command line asks for.

    Raises:
        FileNotFoundError: A dataset has no config.
        ValueError: A setting cannot be used.
    """
    for key in parse_options(args.cfg_options):
        if key in FOLLOW_FROM_FLAGS:
            raise ValueError(
                f'--cfg-options {key}: a campaign sets it by {FOLLOW_FROM_FLAGS[key]}'
            )
    jobs = []
    for dataset in args.datasets:
        path = find_config(args.configs, dataset)
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(parse_options(args.cfg_options))
        _check_draws_shots(cfg, path)
        jobs += [
            make_job(cfg, path, dataset, *each, args) for each in product(args.shots, args.seeds)
        ]
    return jobs


def find_config(pattern: str, dataset: str) -> Path:
    """The dataset's config; ImageNet's recipe is the one without a dataset in its name."""
    candidates = [pattern.replace('{dataset}', dataset)]
    if dataset == 'imagenet':
        candidates.append(pattern.replace('_{dataset}', ''))
    for candidate in candidates:
        if Path(candidate).is_file():
            return Path(candidate)
    raise FileNotFoundError(
        f'no config for dataset {dataset!r}: expected {" or ".join(candidates)}, seen from '
        f'{Path.cwd()}. Write one, name other --datasets, or say with --configs where they are, '
        '{dataset} standing for the name'
    )


def _check_draws_shots(cfg: Config, path: Path) -> None:
    dataset = cfg.train_dataloader.dataset
    if 'num_shots' not in dataset and dataset.type != 'FewShotDataset':
        raise ValueError(
            f'{path}: train_dataloader.dataset is a {dataset.type}, which draws no shots; a '
            'campaign sets num_shots and seed, so it needs a FewShotDataset (stored features hold '
            'the images of one draw)'
        )


def parse_options(options: list[str]) -> dict:
    """As train.py reads ``--cfg-options``."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='*', action=DictAction, default={})
    return parser.parse_args(['--cfg-options', *options]).cfg_options


def make_job(
    cfg: Config, path: Path, dataset: str, shots: int, seed: int, args: argparse.Namespace
) -> Job:
    """One job of a config into which the campaign's options are merged."""
    options = [f'train_dataloader.dataset.num_shots={shots}']
    options += [f'train_dataloader.dataset.seed={seed}', f'randomness.seed={seed}']
    wanted = cfg.train_dataloader.batch_size
    each, note = batch_for(wanted, shots * number_of_classes(cfg), args.nproc)
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(parse_options(options))
    # of all processes together: that is what a result depends on
    cfg.train_dataloader.batch_size = each * args.nproc
    if each != wanted:
        options.append(f'train_dataloader.batch_size={each}')
    return Job(
        dataset=dataset,
        shots=shots,
        seed=seed,
        config=path,
        user_options=tuple(args.cfg_options),
        options=(*args.cfg_options, *options),
        folder=args.work_dir / dataset / f'{shots}shot' / f'seed{seed}',
        epochs=cfg.train_cfg.max_epochs,
        batch_size=each * args.nproc,
        batch_note=note,
        settings=flat_settings(cfg),
    )


def number_of_classes(cfg: Config) -> int:
    """C."""
    head = cfg.model.head
    if head.get('class_names') is None:
        return head.num_classes  # MMPretrain's own heads
    if head.class_names == FROM_DATASET:
        return len(class_names_of_dataset(cfg))
    return len(resolve_class_names(head.class_names))


def batch_for(wanted: int, images: int, processes: int) -> tuple[int, str]:
    """Batch size of one process, and why the total is not the config's.

    Recipes drop incomplete batches: a batch larger than the few-shot set would leave none. The
    learning rate is not scaled.
    """
    notes = []
    if wanted > images:
        notes.append(f'capped from {wanted}: the few-shot set has {images} images at most')
    total = min(wanted, images)
    each = max(1, total // processes)
    if each * processes != total:
        notes.append(f'{total} does not divide evenly among {processes} processes')
    return each, '; '.join(notes)

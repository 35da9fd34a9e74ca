"""Storing what the frozen image tower gives for a config's images."""

import os
import shlex
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device

from ..features.derived_config import CONFIG, check_derived, derived_configs
from ..features.format import create_arrays, open_arrays, total_bytes
from ..features.manifest import (
    AGAIN,
    build_model,
    check_storable,
    make_manifest,
    settle_manifest,
    splits_of,
)
from ..features.writer import forget_damaged, write_features
from ..io.files import write_atomically
from .config import load_config


def extract(
    config: str | Path,
    out: str | Path,
    views: int = 10,
    seed: int = 0,
    batch_size: int = 64,
    workers: int | None = None,
    device: str = 'auto',
    cfg_options: dict | None = None,
    data: str | Path | None = None,
) -> Path:
    """Store features, as ``sotglp extract`` does, and write a config that trains from them.

    Killed, it goes on where it was when it is called again; what is stored is checked then, and
    repaired.

    Returns:
        Path: The config to train.

    Raises:
        FileNotFoundError: The config or an image does not exist.
        OSError: The disk has no room.
        ValueError: The model's features cannot be stored, or the folder holds something else.
    """
    config, out = Path(config), Path(out)
    cfg = load_config(config, cfg_options, data=data)
    check_storable(cfg)
    texts = {}
    if (out / CONFIG).exists():
        check_derived(out / CONFIG, config, cfg_options)
    else:
        texts = derived_configs(config, cfg_options, out, cached_loaders(cfg, out))
    command = extract_command(config, out, views, seed, cfg_options, data)
    store_features(cfg, out, command, texts, views, seed, batch_size, workers, device)
    print(f'Train: sotglp train {out / CONFIG}')
    return out / CONFIG


def cached_loaders(cfg: Config, folder: Path) -> dict[str, tuple[Path, str]]:
    """The cache and the split that each loader of a config reads instead of images."""
    return {loader: (folder, split) for loader, split in splits_of(cfg).items()}


def store_features(
    cfg: Config,
    out: Path,
    command: str,
    beside: dict[str, str] | None = None,
    views: int = 10,
    seed: int = 0,
    batch_size: int = 64,
    workers: int | None = None,
    device: str = 'auto',
) -> None:
    """Store the features of a config's images.

    Args:
        cfg: The config.
        out: Folder of the features.
        command: What a user types to make them again.
        beside: Text of further files of the folder, by name.

    The other arguments and errors are those of :func:`extract`.
    """
    model = build_model(cfg, get_device() if device == 'auto' else device)
    manifest, datasets, samples = make_manifest(cfg, model['backbone'], views, seed, command)
    settle_manifest(out, manifest, samples)
    for name, text in (beside or {}).items():
        write_atomically(out / name, text, AGAIN)
    splits = manifest['splits']
    for name, about in splits.items():
        damaged = (out / name / 'done.npy').exists() and forget_damaged(out / name, about)
        if damaged:
            print(
                f'{out / name}: {damaged} stored images and views were not as they had been '
                'written (damaged, or of other features); they are made again'
            )
    print(f'{out}: {total_bytes(splits) / 1e9:.2f} GB in all')
    for name, about in splits.items():  # all of them first: a full disk stops it before the work
        create_arrays(out / name, about)
    missing = [
        name for name, about in splits.items() if not open_arrays(out / name, about).done.all()
    ]
    workers = min(4, os.cpu_count() or 1) if workers is None else workers
    for name in missing:
        write_features(model, datasets[name], out / name, splits[name], batch_size, workers)
    print(f'{out} is {"complete" if missing else "complete already, nothing was done"}')


def extract_command(
    config: Path,
    out: Path,
    views: int = 10,
    seed: int = 0,
    options: dict | None = None,
    data: str | Path | None = None,
) -> str:
    """What a user types to make the same features again."""
    words = ['sotglp', 'extract', config, '--out', out, '--views', views, '--seed', seed]
    words += ['--data', data] if data else []
    words += ['--cfg-options', *(f'{k}={v}' for k, v in options.items())] if options else []
    return shlex.join(map(str, words))

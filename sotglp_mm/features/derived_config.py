"""The config that reads stored features: the lines in which it differs from the one of images."""

import os
from pathlib import Path
from pprint import pformat

from mmengine.config import Config

from ..io.json_file import as_json, differences

CONFIG = 'config.py'
UNCACHED = 'uncached.py'

_LOADER = """\
{loader} = dict(
    dataset=dict(
        _delete_=True,
        type='CachedFeatureDataset',
        cache='{cache}',
        split='{split}',
        # compared with what the cache was made from; None where the images are not at hand
        source=_base_.{loader}.dataset,
    )
)
"""

_CACHED = """\
\"\"\"{stem}, from stored features.

Its checkpoints load in the config of images, and the reverse.
Train: sotglp train {config}
\"\"\"

_base_ = {base!r}

work_dir = {work_dir!r}
model = dict(
    backbone=dict(type='CachedFeatureBackbone', cache='{cache}'),
    data_preprocessor=dict(type='CachedFeaturePreprocessor', cache='{cache}'),
)
{loaders}"""

_OVERRIDDEN = """\
\"\"\"{stem}, with the --cfg-options that its features were extracted with.\"\"\"

_base_ = {base!r}

{lines}
"""


def derived_configs(
    config: Path, options: dict | None, out: Path, loaders: dict[str, tuple[Path, str]]
) -> dict[str, str]:
    """Text of each file, by name: ``config.py`` and, where ``options`` were set, ``uncached.py``.

    ``loaders`` has cache and split of each loader that reads features, e.g.
    ``{'train_dataloader': (Path('features'), 'train')}``; backbone and preprocessor are checked
    with the first one's.
    """
    base = _path_from(out, config)
    cfg = Config.fromfile(config)
    texts = {}
    before = cfg.to_dict()
    if options:
        cfg.merge_from_dict(options)
        changed = _differing(before, cfg.to_dict())
        lines = '\n'.join(f'{key} = {pformat(value)}' for key, value in changed.items())
        texts[UNCACHED] = _OVERRIDDEN.format(stem=config.stem, base=base, lines=lines)
        base = f'./{UNCACHED}'
    caches = {key: (_cache_from(out, cache), split) for key, (cache, split) in loaders.items()}
    texts[CONFIG] = _CACHED.format(
        stem=config.stem,
        config=out / CONFIG,
        base=base,
        # every cache has a config.py: by its name alone, their runs would share a folder
        work_dir=f'{cfg.get("work_dir") or f"work_dirs/{config.stem}"}_cached',
        cache=next(iter(caches.values()))[0],
        loaders=''.join(
            _LOADER.format(loader=key, cache=cache, split=split)
            for key, (cache, split) in caches.items()
        ),
    )
    return texts


def check_derived(file: Path, config: Path, options: dict | None) -> None:
    """Raise ``ValueError`` if a derived config is not of this config and these options."""
    asked = Config.fromfile(config)
    asked.merge_from_dict(options or {})
    there = Config.fromfile(file)
    # what features stand in for is compared with their manifest, by every run
    for cfg in (asked, there):
        cfg.pop('work_dir', None)
        cfg.model.pop('backbone', None)
        cfg.model.pop('data_preprocessor', None)
        for name in [name for name in cfg if name.endswith('_dataloader') and cfg[name]]:
            cfg[name].pop('dataset', None)
    for key, before, now in differences(as_json(there.to_dict()), as_json(asked.to_dict())):
        raise ValueError(
            f'{file} has {key} = {before}, and the config asked for has {now}: it was written for '
            'another config, or edited. Train it as it is, or delete it and run the same command '
            'again: it is then written for this config, and the features stay'
        )


def _cache_from(out: Path, cache: Path) -> str:
    """As a config in ``out`` names it."""
    path = _path_from(out, cache)
    return path if Path(path).is_absolute() else Path('{{ fileDirname }}', path).as_posix()


def _path_from(folder: Path, file: Path) -> str:
    """Relative inside the current folder, so that both can move together; else absolute."""
    folder, file, here = folder.resolve(), file.resolve(), Path.cwd()
    if folder.is_relative_to(here) and file.is_relative_to(here):
        return Path(os.path.relpath(file, folder)).as_posix()
    return file.as_posix()


def _differing(before: dict, after: dict) -> dict:
    """What a derived config has to say to turn one config into the other; lists go whole."""
    if set(before) - set(after):
        return dict(_delete_=True, **after)
    changed = {}
    for key, value in after.items():
        if key not in before or before[key] != value:
            nested = isinstance(before.get(key), dict) and isinstance(value, dict)
            changed[key] = _differing(before[key], value) if nested else value
    return changed

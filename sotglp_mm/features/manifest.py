"""What a feature cache of a config is to hold: its splits, its model, its manifest."""

import json
from copy import deepcopy
from pathlib import Path

from mmengine.config import Config
from mmpretrain.registry import DATASETS, MODELS

from ..datasets.data_identity import describe_data
from ..io.files import TEMPORARY, write_atomically
from ..io.json_file import as_json
from ..models.open_clip_vit import OpenCLIPViT
from ..structures import COMPETING_LABELS, SET_NAMES
from ..version import __version__
from .format import (
    FORMAT,
    MADE,
    MANIFEST,
    PINNED,
    check_pinned,
    read_manifest,
    read_split,
    signed,
)
from .model import describe_preprocessing

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
AGAIN = 'Make room, and run the same command again'
NOT_PIXELS = ('type', 'batch_augments', 'to_onehot', 'num_classes')


def splits_of(cfg: Config) -> dict[str, str]:
    """The split that each loader reads; loaders of one dataset share it."""
    found: dict[str, str] = {}
    for loader in LOADERS:
        if cfg.get(loader):
            name, tested = loader.removesuffix('_dataloader'), cfg.get('test_dataloader')
            # 'test' is the name of what validation and test share, as they mostly do
            same = name == 'val' and tested and cfg[loader].dataset == tested.dataset
            found[loader] = 'test' if same else name
    return found


def build_model(cfg: Config, device: str) -> dict:
    """Backbone and data preprocessor on their device, in eval mode."""
    check_storable(cfg)
    pixels = dict(cfg.model.get('data_preprocessor') or {})
    pixels.setdefault('type', 'ClsDataPreprocessor')
    pixels.pop('batch_augments', None)
    backbone = {**cfg.model.backbone, 'clip': clip_of(cfg)}
    parts = dict(backbone=backbone, data_preprocessor=pixels)
    return {name: MODELS.build(part).to(device).eval() for name, part in parts.items()}


def clip_of(cfg: Config) -> dict:
    """The CLIP of the backbone: of the :class:`CLIPClassifier`, or its own."""
    return cfg.model.get('clip') or cfg.model.backbone.clip


def check_storable(cfg: Config) -> None:
    """Raise ``ValueError`` if features cannot stand in for the images of a model."""
    pixels = cfg.model.get('data_preprocessor') or {}
    backbone = cfg.model.backbone
    if backbone.type == 'CachedFeatureBackbone':
        raise ValueError('this is the config of a cache already; give the one it was made from')
    if backbone.type != 'OpenCLIPViT':
        raise ValueError(f'expected an OpenCLIPViT as backbone, got {backbone.type!r}')
    if clip_of(cfg).get('pretrained') is None:
        raise ValueError(
            'clip.pretrained is None: random weights differ in every process, so no run could use '
            'their features; name weights'
        )
    if cfg.get('data_preprocessor') and not cfg.model.get('data_preprocessor'):
        raise ValueError('expected data_preprocessor inside model, found it beside; move it there')
    kind = pixels.get('type', 'ClsDataPreprocessor')
    if kind != 'ClsDataPreprocessor':
        raise ValueError(f'expected a ClsDataPreprocessor in model, got {kind!r}')
    if pixels.get('batch_augments') or cfg.model.get('train_cfg'):
        raise ValueError(
            'batch augmentations (mixup, cutmix) mix pixels, so features cannot be cached; leave '
            'model.train_cfg and data_preprocessor.batch_augments out'
        )


def make_manifest(
    cfg: Config, backbone: OpenCLIPViT, views: int, seed: int, command: str
) -> tuple[dict, dict, dict]:
    """What is to be stored: the manifest, and the dataset and samples of each split.

    ``views`` are those of a training image; other splits have one. ``command`` makes the same.
    """
    tower = backbone.towers.image
    sizes = dict(num_patches=tower.num_patches, width=tower.width)
    about, datasets, samples = {}, {}, {}
    for loader, name in splits_of(cfg).items():
        if name not in datasets:
            settings = cfg[loader].dataset
            datasets[name] = DATASETS.build(deepcopy(settings))
            _check_one_set(loader, datasets[name].metainfo)
            data, samples[name] = describe_data(datasets[name], settings)
            number = views if name == 'train' else 1
            about[name] = dict(views=number, seed=seed, **sizes, **data)
    pixels = cfg.model.get('data_preprocessor') or {}
    pixels = {key: value for key, value in pixels.items() if key not in NOT_PIXELS}
    manifest = dict(
        format=FORMAT,
        backbone=backbone.towers.describe_image_tower(backbone.first_block_residual),
        data_preprocessor=describe_preprocessing(**pixels),
        splits=about,
    )
    manifest[MADE] = dict(command=command, clip=clip_of(cfg), by=__version__)
    return signed(as_json(manifest)), datasets, samples


def _check_one_set(loader: str, metainfo: dict) -> None:
    """Stored features have neither names of sets nor classes that compete in one of them."""
    lost = [key for key in (SET_NAMES, COMPETING_LABELS) if metainfo.get(key) is not None]
    if lost:
        raise ValueError(
            f"{loader}: stored features would lose the dataset's {' and '.join(lost)}, and all "
            f'images and classes would count as one set. Store no features of it ({loader}=None), '
            'and test from images'
        )


def settle_manifest(out: Path, manifest: dict, samples: dict) -> None:
    """Write it, or see that it is the one that is there; nothing is overwritten."""
    if (out / MANIFEST).exists():
        present = read_manifest(out)
        for key in PINNED:
            check_pinned(out, key, present[key], manifest[key])
    elif out.is_dir() and set(out.iterdir()) - set(out.glob(f'{MANIFEST}*{TEMPORARY}')):
        raise ValueError(f'{out} is not empty and holds no feature cache; give another folder')
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / MANIFEST, _as_text(manifest), AGAIN)
    for name, rows in samples.items():
        file = out / name / 'samples.json'
        if file.exists():
            read_split(out, name)
        else:
            file.parent.mkdir(exist_ok=True)
            write_atomically(file, _as_text(rows), AGAIN)


def _as_text(content: dict | list) -> str:
    return json.dumps(content, indent=1) + '\n'

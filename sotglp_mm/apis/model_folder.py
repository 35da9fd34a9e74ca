"""A trained classifier as a folder that can be shared, e.g. on the Hugging Face Hub.

What is read from such a folder may be a stranger's: it holds tensors and JSON, no Python.
"""

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors
import safetensors.torch
import torch
from huggingface_hub.utils import HFValidationError, RepositoryNotFoundError
from mmengine.config import Config

from ..io.checkpoint_file import read_checkpoint
from ..io.files import write_atomically
from ..io.json_file import as_json, read_json
from ..models.learned_state import read_identity
from ..utils.packaged_files import CONFIGS
from ..utils.tables import markdown_table
from ..version import __version__
from .calibration import read_calibration
from .config import LOADERS, load_config

WEIGHTS, CONFIG, ABOUT, CARD = 'model.safetensors', 'config.json', 'classifier.json', 'README.md'
KEPT = ('model', *LOADERS, 'optim_wrapper', 'param_scheduler', 'train_cfg', 'randomness')
"""Settings that ``config.json`` has; those of the first and of ``test_dataloader`` are read."""


def own_evaluator() -> list[dict]:
    """Of the config of your own images: for any number of classes, on any recipe."""
    return Config.fromfile(CONFIGS / 'sotglp_vitb16_16shot_own.py').test_evaluator


def write_model_folder(folder: Path, config: Path, checkpoint: Path, results: dict) -> Path:
    """Write the folder of a run's config and checkpoint; the model card says ``results``."""
    state = read_checkpoint(checkpoint)['state_dict']
    cfg = load_config(config, checkpoint=checkpoint)
    prefixes = [key.removesuffix('_extra_state') for key in state if key.endswith('_extra_state')]
    identities = [read_identity(state, prefix) for prefix in prefixes]
    about = dict(
        made_by=f'sotglp_mm {__version__}',
        class_names=list(cfg.model.head.class_names),
        clip=identities[0]['clip'] if identities and identities[0] else None,
        calibration=read_calibration(checkpoint),
        results=results,
    )
    settings = as_json({key: cfg[key] for key in KEPT if cfg.get(key)})
    for name in LOADERS:  # where the photos were is nobody's business
        _forget_place(settings.get(name))
    tensors = {key: value.contiguous() for key, value in state.items()}
    files: dict[str, bytes | str] = {
        WEIGHTS: safetensors.torch.save(tensors),
        CONFIG: json.dumps(settings, indent=1) + '\n',
        ABOUT: json.dumps(about, indent=1) + '\n',
        CARD: _card(folder.name, about, settings),
    }
    for name, content in files.items():
        write_atomically(folder / name, content, 'Choose another folder')
    return folder


def find_model_folder(name: str | Path) -> Path:
    """The folder of this path, or that of a model on the Hugging Face Hub, fetched or cached."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    try:
        files = [WEIGHTS, CONFIG, ABOUT, CARD]
        return Path(huggingface_hub.snapshot_download(str(name), allow_patterns=files))
    except Exception as error:  # each transport raises its own kind
        why = f'the Hugging Face Hub could not be reached ({type(error).__name__})'
        if isinstance(error, HFValidationError):
            why = 'it cannot be the id of a model on the Hugging Face Hub'
        elif isinstance(error, RepositoryNotFoundError):
            why = 'the Hugging Face Hub has no model of this id that you may read'
        raise FileNotFoundError(
            f'{str(name)!r} is no folder here, and {why}; expected the path of a folder of '
            'FewShotClassifier.save, or user/model'
        ) from error


def unpack_model_folder(
    folder: Path, work_dir: Path, options: dict
) -> tuple[Path, Path, dict[str, Any]]:
    """Paths of config and checkpoint, written to ``work_dir``, and results, of such a folder."""
    for name in (WEIGHTS, CONFIG, ABOUT):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f'{folder} has no {name}; expected a folder of FewShotClassifier.save'
            )
    settings, about = read_json(folder / CONFIG), read_json(folder / ABOUT)
    try:
        state = safetensors.torch.load_file(folder / WEIGHTS)
        names = list(about['class_names'])
        parts = {key: settings[key] for key in ('model', 'test_dataloader')}
        meta = dict(dataset_meta=dict(classes=names), calibration=about['calibration'])
        results = dict(about['results'])
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{folder} is damaged, or no folder of FewShotClassifier.save '
            f'({type(error).__name__}: {error}); copy or fetch it again'
        ) from error
    _check_types(parts, folder / CONFIG)
    cfg = Config.fromfile(CONFIGS / '_base_' / 'default_runtime.py')
    cfg.merge_from_dict({**parts, 'test_cfg': {}, 'test_evaluator': own_evaluator()})
    cfg.merge_from_dict(options)
    cfg.work_dir, cfg.log_level = str(work_dir / 'run'), 'WARNING'
    config, checkpoint = work_dir / 'config.json', work_dir / 'checkpoint.pth'
    config.write_text(json.dumps(as_json(cfg.to_dict())))
    torch.save(dict(meta=meta, state_dict=state), checkpoint)
    return config, checkpoint, results


def _check_types(node: Any, file: Path) -> None:
    """MMEngine imports and calls what a type with a dot names, and reads bases, which are code."""
    if isinstance(node, dict):
        kind = node.get('type', '')
        if '_base_' in node or not isinstance(kind, str) or '.' in kind:
            found = '_base_' if '_base_' in node else f'type {kind!r}'
            raise ValueError(
                f'{file} has {found}, which could run any code; expected names of registered '
                'parts alone. Do not use this folder'
            )
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list):
            _check_types(child, file)


def _forget_place(node: Any) -> None:
    while isinstance(node, dict):
        if 'data_root' in node:
            node['data_root'] = 'photos'
        node = node.get('dataset')


def _card(name: str, about: dict, settings: dict) -> str:
    """Model card: what it is, how it is used, what it reached."""
    clip, results, names = about['clip'] or {}, about['results'], about['class_names']
    measured, calibrated = 'Nothing was measured.', 'Not calibrated.'
    if results:
        numbers = [
            [metric, f'{value:.1f}' if isinstance(value, float) else str(value)]
            for metric, value in results.items()
        ]
        measured = (
            f'On {results["test_images"]} held-out images (percent; `ece15` is the expected '
            f'calibration error in 15 bins):\n\n{markdown_table(["metric", "value"], numbers)}'
        )
    if calibration := about['calibration']:
        calibrated = (
            f'Calibrated on {calibration["images"]} validation images: temperature '
            f'{calibration["temperature"]:.4g}.'
        )
    return f"""---
library_name: sotglp_mm
pipeline_tag: image-classification
tags: [few-shot, prompt-learning, clip]
---

# {name}

A classifier of {len(names)} classes: prompts and projection that a
`{settings['model']['head']['type']}` of sotglp_mm learned for CLIP `{clip.get('model_name')}`
with the weights `{clip.get('pretrained')}` (sha256 `{clip.get('weights_sha256')}`). CLIP is not
in this folder; other weights are refused. Method: https://arxiv.org/abs/2603.08347

```python
from sotglp_mm.apis import FewShotClassifier

FewShotClassifier.load('{name}').predict('new/')
```

## Numbers

{measured}
{calibrated}

## Classes

{', '.join(names)}

Made by {about['made_by']}.
"""

"""Readers of checkpoints, features and CLIP, each with a good file and what a right answer is."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_target import CLASSES, Target
from mini_checkpoints import write_checkpoint
from safetensors.torch import save_file
from small_clip import CONFIG

from sotglp_mm.class_names.resolve import class_names_of_checkpoint
from sotglp_mm.clip.load import load_clip
from sotglp_mm.clip.weights import read_clip_weights
from sotglp_mm.datasets.data_identity import samples_digest
from sotglp_mm.engine import latest_checkpoint
from sotglp_mm.features import CachedFeatureDataset
from sotglp_mm.features.checksums import cache_number, row_checksums
from sotglp_mm.features.format import FORMAT, create_arrays, open_arrays

# --- stored features


def prepare_cache(folder: Path) -> None:
    rows = [[f'{name}/{n}.jpg', label, 10] for label, name in enumerate(CLASSES) for n in (0, 1)]
    about = dict(views=2, num_images=len(rows), num_patches=4, width=3, dataset=dict(type='X'))
    about |= dict(classes=list(CLASSES), samples_sha256=samples_digest(rows))
    create_arrays(folder / 'train', about)
    (folder / 'train' / 'samples.json').write_text(json.dumps(rows))
    manifest = dict(format=FORMAT, backbone={}, data_preprocessor={}, splits=dict(train=about))
    manifest['made'] = dict(command='python tools/extract_features.py x.py', clip={}, by='0')
    (folder / 'manifest.json').write_text(json.dumps(manifest, indent=1))
    arrays = open_arrays(folder / 'train', about, 'r+')
    arrays.patches[:], arrays.image[:], arrays.done[:] = 1, np.arange(6)[None, :, None], True
    number = cache_number(folder, 'train')
    for where in np.ndindex(2, len(rows)):
        arrays.crc[where] = row_checksums(arrays.patches[where], arrays.image[where], number)


def read_cache(folder: Path) -> Any:
    dataset = CachedFeatureDataset(str(folder), 'train', view=1)
    items = [dataset[index] for index in range(len(dataset))]
    labels = [int(item['data_samples'].gt_label) for item in items]
    assert dataset.get_gt_labels().tolist() == labels
    return dataset.metainfo['classes'], labels, [item['inputs'] for item in items]


def wrong_cache(folder: Path, found: Any) -> str | None:
    names, labels, inputs = found
    if labels != [0, 0, 1, 1, 2, 2]:
        return f'labels {labels}'
    if len(names) <= max(labels) or not all(isinstance(name, str) for name in names):
        return f'classes {names}'
    for part in ('patches', 'image'):
        plain = np.load(folder / 'train' / f'{part}.npy', allow_pickle=False)[1]
        ours = np.stack([getattr(x, part).numpy() for x in inputs])
        if (ours.shape, ours.dtype, ours.tobytes()) != (plain.shape, plain.dtype, plain.tobytes()):
            return f'{part} are {ours} instead of {plain}'
    return None


# --- checkpoints


def prepare_checkpoint(folder: Path) -> None:
    folder.mkdir(parents=True)
    meta = dict(epoch=1, iter=3, dataset_meta=dict(classes=list(CLASSES)))
    write_checkpoint(folder / 'epoch_1.pth', meta=meta)
    write_checkpoint(folder / 'epoch_2.pth', meta=dict(meta, epoch=2))
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_2.pth'))


def read_run(folder: Path) -> Any:
    """What is wrong with the spoilt one is told in ``skipped``, and another is taken."""
    found = latest_checkpoint(folder)
    if found.path != folder / 'epoch_2.pth':
        raise ValueError(' '.join(found.skipped))
    names = class_names_of_checkpoint(found.path)
    return names, torch.load(found.path, weights_only=True)['state_dict']


def read_note(folder: Path) -> Any:
    found = latest_checkpoint(folder)
    if found.skipped:
        raise ValueError(' '.join(found.skipped))
    return found.path


def wrong_note(folder: Path, path: Any) -> str | None:
    name = (folder / 'last_checkpoint').read_text(errors='replace').strip().rsplit('/', 1)[-1]
    return None if path == folder / name else f'{path} instead of {name}'


def wrong_checkpoint(folder: Path, found: Any) -> str | None:
    names, weights = found
    if names != CLASSES:
        return f'classes {names}'
    same = torch.equal(weights['head.global_prompts'], torch.arange(1000.0))
    return None if same else 'other weights'


# --- CLIP's weights


def state() -> dict[str, torch.Tensor]:
    """A few weights."""
    return {'positional_embedding': torch.arange(12.0).view(3, 4), 'logit_scale': torch.ones(())}


def prepare_weights(folder: Path) -> None:
    folder.mkdir(parents=True)
    torch.save(state(), folder / 'clip.pt')
    save_file(state(), folder / 'clip.safetensors')
    (folder / 'open_clip_config.json').write_text(
        json.dumps(dict(model_cfg=dict(embed_dim=4, quick_gelu=True), preprocess_cfg={}))
    )


def prepare_archive(folder: Path) -> None:
    """A small archive such as OpenAI's."""
    folder.mkdir(parents=True)
    module = torch.nn.Module()
    module.inner = torch.nn.Linear(3, 2)
    for name, value in state().items():
        module.register_parameter(name, torch.nn.Parameter(value))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch's own, of torch.jit
        torch.jit.script(module).save(folder / 'openai.pt')


def wrong_archive(folder: Path, found: Any) -> str | None:
    """Numbers may be others, where those in the archive are; what is read are tensors."""
    named = all(isinstance(name, str) for name in found.state_dict)
    return None if named and all(map(torch.is_tensor, found.state_dict.values())) else f'{found}'


def read_weights(name: str) -> Callable[[Path], Any]:
    return lambda folder: read_clip_weights(folder / name)


def wrong_weights(folder: Path, found: Any) -> str | None:
    """Names, numbers and activation are those that were written."""
    beside = json.loads((folder / 'open_clip_config.json').read_text(encoding='utf-8'))
    if found.quick_gelu is not beside['model_cfg'].get('quick_gelu', False):
        return f'quick_gelu={found.quick_gelu}'
    same = found.state_dict.keys() == state().keys()
    same = same and all(torch.equal(found.state_dict[name], state()[name]) for name in state())
    return None if same else f'{found.state_dict}'


def wrong_whole_weights(folder: Path, found: Any) -> str | None:
    """Of a file with checksums: every number that is there must be right."""
    for name, value in state().items():
        other = found.state_dict.get(name)
        if other is not None and other.shape == value.shape and not torch.equal(other, value):
            return f'{name} has other numbers'
    return None if all(map(torch.is_tensor, found.state_dict.values())) else f'{found}'


def wrong_safetensors(folder: Path, found: Any) -> str | None:
    """The format has no checksums: the bytes must be those of the file, as its header tells."""
    data = (folder / 'clip.safetensors').read_bytes()
    body = 8 + int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:body])
    header.pop('__metadata__', None)
    for name, value in found.state_dict.items():
        start, stop = header[name]['data_offsets']
        ours = value.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        if ours != data[body + start : body + stop] or list(value.shape) != header[name]['shape']:
            return f'{name} is {value}'
    return None if found.state_dict.keys() == header.keys() else f'{list(found.state_dict)}'


# --- an open_clip model config


def prepare_config(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / 'model.json').write_text(json.dumps(CONFIG))


def read_config(folder: Path) -> Any:
    return load_clip(str(folder / 'model.json')).clip.state_dict()


def wrong_config(folder: Path, state: Any) -> str | None:
    config = json.loads((folder / 'model.json').read_text(encoding='utf-8'))
    vision, text, both = config['vision_cfg'], config['text_cfg'], config['embed_dim']
    width, patch = vision.get('width', 768), vision.get('patch_size', 16)
    words = text.get('width', 512)
    expected = {
        'visual.conv1.weight': (width, 3, patch, patch),
        'visual.proj': (width, both),
        'token_embedding.weight': (text.get('vocab_size', 49408), words),
        'positional_embedding': (text.get('context_length', 77), words),
        'text_projection': (words, both),
    }
    found = {name: tuple(state[name].shape) for name in expected}
    return None if found == expected else f'{found} instead of {expected}'


def cache_target(file: str, kind: str = 'binary') -> Target:
    return Target(file, kind, prepare_cache, read_cache, wrong_cache)


def weights_target(file: str, kind: str, wrong: Callable, read: str = '') -> Target:
    return Target(file, kind, prepare_weights, read_weights(read or file), wrong)


MODEL_TARGETS = {
    'manifest': cache_target('manifest.json', 'json'),
    'samples': cache_target('train/samples.json', 'json'),
    'features': cache_target('train/image.npy'),
    'patches': cache_target('train/patches.npy'),
    'done': cache_target('train/done.npy'),
    'checkpoint': Target('epoch_2.pth', 'binary', prepare_checkpoint, read_run, wrong_checkpoint),
    'note': Target('last_checkpoint', 'text', prepare_checkpoint, read_note, wrong_note),
    'weights': weights_target('clip.pt', 'binary', wrong_whole_weights),
    'torchscript': Target(
        'openai.pt', 'archive', prepare_archive, read_weights('openai.pt'), wrong_archive
    ),
    'safetensors': weights_target('clip.safetensors', 'binary', wrong_safetensors),
    'config beside': weights_target('open_clip_config.json', 'json', wrong_weights, 'clip.pt'),
    'model config': Target(
        'model.json', 'json', prepare_config, read_config, wrong_config, cost=4
    ),  # open_clip's default sizes are large
}

"""Readers of files that users bring, each with a good file and what a right answer is."""

import csv
import hashlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mini_checkpoints import write_checkpoint
from PIL import Image
from safetensors.torch import save_file

from sotglp_mm.class_names import class_names_of_checkpoint, resolve_class_names
from sotglp_mm.datasets import (
    CachedFeatureDataset,
    CoOpAircraftDataset,
    CoOpSplitDataset,
    LoadImageStrict,
    OwnImagesDataset,
)
from sotglp_mm.datasets.few_shot_files import read_few_shot_files
from sotglp_mm.engine import latest_checkpoint
from sotglp_mm.feature_cache import FORMAT, create_arrays, open_arrays, samples_digest
from sotglp_mm.feature_checksums import cache_number, row_checksums
from sotglp_mm.models.clip_weights import read_clip_weights

CLASSES = ('ant', 'bee', 'crab')
COUNT = 4
"""Images of a class."""


class Target(NamedTuple):
    """A reader."""

    file: str
    """What is spoilt, in the target's folder."""

    kind: str
    """'json', 'text' or 'binary'."""

    prepare: Callable[[Path], None]
    """Write the good files into a folder."""

    read: Callable[[Path], Any]
    """Read them as a run does."""

    wrong: Callable[[Path, Any], str | None]
    """What is wrong with an answer, judged by plain json, csv or text; None: nothing."""


def write_pictures(folder: Path) -> list[list]:
    """Empty files that stand for images, and their rows."""
    rows = []
    for label, name in enumerate(CLASSES):
        (folder / 'images' / name).mkdir(parents=True)
        for number in range(COUNT):
            (folder / 'images' / name / f'{number}.jpg').touch()
            rows.append([f'{name}/{number}.jpg', label, name])
    (folder.parent / 'outside.jpg').touch()
    return rows


def rows_of(dataset: Any) -> list[tuple[str, int, str]]:
    """What a dataset would train on: path, label and class name."""
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    names = dataset.metainfo['classes']
    return [(info['img_path'], info['gt_label'], names[info['gt_label']]) for info in infos]


def wrong_rows(folder: Path, rows: list[tuple], expected: list[tuple]) -> str | None:
    """A path outside, or rows that are not those of the file."""
    for path, label, name in rows:
        if folder.resolve() not in Path(path).resolve().parents:
            return f'{path} is outside'
        if type(label) is not int or not isinstance(name, str):
            return f'label {label!r} is called {name!r}'
    return None if rows == expected else f'{rows[:2]} ... instead of {expected[:2]} ...'


# --- CoOp's split files, also as a list of class names


def prepare_split(folder: Path) -> None:
    rows = write_pictures(folder)
    parts = dict(train=rows[::2], val=rows[1::4], test=rows[3::4])
    (folder / 'split.json').write_text(json.dumps(parts))


def read_split_file(folder: Path) -> Any:
    names = resolve_class_names(str(folder / 'split.json'))
    return names, rows_of(CoOpSplitDataset(str(folder), 'split.json', 'train'))


def wrong_split(folder: Path, found: Any) -> str | None:
    names, rows = found
    listed = json.loads((folder / 'split.json').read_text(encoding='utf-8'))['train']
    expected = [(str(folder / 'images' / path), label, name) for path, label, name in listed]
    if any(names[label] != name for _, label, name in rows):
        return 'another list of class names'
    return wrong_rows(folder / 'images', rows, expected)


# --- one's own table


def prepare_table(folder: Path) -> None:
    rows = write_pictures(folder)
    lines = [
        f'images/{path},{name},{("train", "test")[at % 2]}'
        for at, (path, _, name) in enumerate(rows)
    ]
    (folder / 'own.csv').write_text('\n'.join(['path,label,split', *lines]) + '\n')


def read_table(folder: Path) -> Any:
    return rows_of(OwnImagesDataset(str(folder / 'own.csv'), 'train'))


def wrong_table(folder: Path, rows: Any) -> str | None:
    text = (folder / 'own.csv').read_bytes().decode('utf-8-sig')
    table = list(csv.DictReader(io.StringIO(text, newline='')))
    names = sorted({row['label'].strip() for row in table})
    expected = [
        (
            str(folder / row['path'].strip()),
            names.index(row['label'].strip()),
            row['label'].strip(),
        )
        for row in table
        if row.get('split', 'train').strip() == 'train'
    ]
    return wrong_rows(folder, rows, expected)


# --- FGVC-Aircraft's lists


def prepare_aircraft(folder: Path) -> None:
    (folder / 'images').mkdir(parents=True)
    (folder / 'variants.txt').write_text('\n'.join(CLASSES) + '\n')
    lines = [f'{number:03d} {CLASSES[number % 3]}' for number in range(9)]
    for number in range(9):
        (folder / 'images' / f'{number:03d}.jpg').touch()
    (folder / 'images_variant_train.txt').write_text('\n'.join(lines) + '\n')
    (folder.parent / 'outside.jpg').touch()


def read_aircraft(folder: Path) -> Any:
    return rows_of(CoOpAircraftDataset(str(folder), 'train'))


def wrong_aircraft(folder: Path, rows: Any) -> str | None:
    text = (folder / 'images_variant_train.txt').read_text(encoding='utf-8')
    pairs = [line.strip().partition(' ') for line in text.splitlines() if line.strip()]
    expected = [
        (str(folder / 'images' / f'{image}.jpg'), CLASSES.index(name), name)
        for image, _, name in pairs
    ]
    return wrong_rows(folder / 'images', rows, expected)


# --- the record of a few-shot draw


def prepare_few_shot(folder: Path) -> None:
    folder.mkdir(parents=True)
    images = [[f'images/{name}/0.jpg', label] for label, name in enumerate(CLASSES)]
    record = dict(
        num_shots=1,
        seed=1,
        sampling='per_class',
        classes=list(CLASSES),
        images=images,
        sha256=samples_digest(images),
    )
    (folder / 'few_shot_files.json').write_text(json.dumps(record, indent=1))


def read_few_shot(folder: Path) -> Any:
    return read_few_shot_files(folder / 'few_shot_files.json')


def wrong_few_shot(folder: Path, record: Any) -> str | None:
    written = [[f'images/{name}/0.jpg', label] for label, name in enumerate(CLASSES)]
    if record['images'] != written:
        return f'images {record["images"]}'
    names = record['classes']
    return None if all(isinstance(name, str) for name in names) else f'classes {names}'


# --- stored features


def prepare_cache(folder: Path) -> None:
    rows = [[f'{name}/{n}.jpg', label, 10] for label, name in enumerate(CLASSES) for n in (0, 1)]
    about = dict(views=2, num_images=len(rows), num_patches=4, width=3, dataset=dict(type='X'))
    about |= dict(classes=list(CLASSES), samples_sha256=samples_digest(rows))
    create_arrays(folder / 'train', about)
    (folder / 'train' / 'samples.json').write_text(json.dumps(rows))
    manifest = dict(format=FORMAT, backbone={}, data_preprocessor={}, splits=dict(train=about))
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
    shapes = {(tuple(x.patches.shape), tuple(x.image.shape)) for x in inputs}
    return None if shapes == {((4, 3), (3,))} else f'shapes {shapes}'


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


def read_weights(name: str) -> Callable[[Path], Any]:
    return lambda folder: read_clip_weights(folder / name)


def wrong_weights(folder: Path, found: Any) -> str | None:
    tensors = all(isinstance(value, torch.Tensor) for value in found.state_dict.values())
    if not tensors or type(found.quick_gelu) is not bool:
        return f'{found}'
    return None


def wrong_whole_weights(folder: Path, found: Any) -> str | None:
    """Of a file with checksums: every number must be right."""
    for name, value in state().items():
        other = found.state_dict.get(name)
        if other is not None and other.shape == value.shape and not torch.equal(other, value):
            return f'{name} has other numbers'
    return wrong_weights(folder, found)


# --- images


def prepare_image(name: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        folder.mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)

    return prepare


def read_image(name: str) -> Callable[[Path], Any]:
    return lambda folder: LoadImageStrict().transform(dict(img_path=str(folder / name)))


def wrong_image(folder: Path, found: Any) -> str | None:
    image = found['img']
    right = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    return None if right and found['img_shape'] == image.shape[:2] else f'{image.shape}'


TARGETS = {
    'split file': Target('split.json', 'json', prepare_split, read_split_file, wrong_split),
    'table': Target('own.csv', 'text', prepare_table, read_table, wrong_table),
    'list': Target(
        'images_variant_train.txt', 'text', prepare_aircraft, read_aircraft, wrong_aircraft
    ),
    'few-shot file': Target(
        'few_shot_files.json', 'json', prepare_few_shot, read_few_shot, wrong_few_shot
    ),
    'manifest': Target('manifest.json', 'json', prepare_cache, read_cache, wrong_cache),
    'samples': Target('train/samples.json', 'json', prepare_cache, read_cache, wrong_cache),
    'features': Target('train/image.npy', 'binary', prepare_cache, read_cache, wrong_cache),
    'checkpoint': Target('epoch_2.pth', 'binary', prepare_checkpoint, read_run, wrong_checkpoint),
    'weights': Target(
        'clip.pt', 'binary', prepare_weights, read_weights('clip.pt'), wrong_whole_weights
    ),
    'safetensors': Target(
        'clip.safetensors',
        'binary',
        prepare_weights,
        read_weights('clip.safetensors'),
        wrong_weights,
    ),
    'config beside': Target(
        'open_clip_config.json', 'json', prepare_weights, read_weights('clip.pt'), wrong_weights
    ),
    'JPEG': Target('x.jpg', 'binary', prepare_image('x.jpg'), read_image('x.jpg'), wrong_image),
    'PNG': Target('x.png', 'binary', prepare_image('x.png'), read_image('x.png'), wrong_image),
}


class Payload:
    """Writes a file when it is unpickled by a reader that executes code."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple:
        return Path.touch, (self.canary,)


def code_in_pickles(folder: Path, canary: Path) -> dict[str, Callable[[], Any]]:
    """Readers, and files that execute code if they are read without care."""
    for name in ('checkpoint', 'weights', 'features'):
        TARGETS[name].prepare(folder / name)
    torch.save(dict(state_dict={}, meta=Payload(canary)), folder / 'checkpoint' / 'epoch_2.pth')
    (folder / 'checkpoint' / 'epoch_1.pth').write_bytes(pickle.dumps(Payload(canary)))
    torch.save(dict(state(), more=Payload(canary)), folder / 'weights' / 'clip.pt')
    array = np.array([Payload(canary)] * 12, dtype=object).reshape(2, 6)
    np.save(folder / 'features' / 'train' / 'done.npy', array, allow_pickle=True)
    return {
        name: lambda name=name: TARGETS[name].read(folder / name)
        for name in ('checkpoint', 'weights', 'features')
    }


def digest(data: bytes) -> str:
    """A short name for a content."""
    return hashlib.sha256(data).hexdigest()[:12]

"""Readers of lists, labels and images, each with a good file and what a right answer is."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_target import CLASSES, Target, plain_lines, rows_of, write_pictures, wrong_rows
from PIL import Image

from sotglp_mm.class_names.resolve import resolve_class_names
from sotglp_mm.datasets import (
    CoOpAircraftDataset,
    CoOpSplitDataset,
    LoadImageStrict,
    OwnImagesDataset,
)
from sotglp_mm.datasets.data_identity import samples_digest
from sotglp_mm.datasets.few_shot_files import read_few_shot_files

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
    variants = plain_lines(folder / 'variants.txt')
    pairs = [line.partition(' ') for line in plain_lines(folder / 'images_variant_train.txt')]
    expected = [
        (str(folder / 'images' / f'{image}.jpg'), variants.index(name), name)
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


# --- a list of class names


def prepare_names(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / 'names.txt').write_text('\n'.join(CLASSES) + '\n')


def read_names(folder: Path) -> Any:
    return resolve_class_names(str(folder / 'names.txt'))


def wrong_names(folder: Path, names: Any) -> str | None:
    expected = tuple(plain_lines(folder / 'names.txt'))
    return None if names == expected else f'{names} instead of {expected}'


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


DATA_TARGETS = {
    'split file': Target('split.json', 'json', prepare_split, read_split_file, wrong_split),
    'table': Target('own.csv', 'text', prepare_table, read_table, wrong_table),
    'list': Target(
        'images_variant_train.txt', 'text', prepare_aircraft, read_aircraft, wrong_aircraft
    ),
    'variants': Target('variants.txt', 'text', prepare_aircraft, read_aircraft, wrong_aircraft),
    'names': Target('names.txt', 'text', prepare_names, read_names, wrong_names),
    'few-shot file': Target(
        'few_shot_files.json', 'json', prepare_few_shot, read_few_shot, wrong_few_shot
    ),
    'JPEG': Target('x.jpg', 'binary', prepare_image('x.jpg'), read_image('x.jpg'), wrong_image),
    'PNG': Target('x.png', 'binary', prepare_image('x.png'), read_image('x.png'), wrong_image),
}

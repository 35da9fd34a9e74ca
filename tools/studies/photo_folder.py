"""Photographs in Tiny-ImageNet's layout: decoded once, and the names of their classes.

DIR/train/<class id>/images/*.JPEG
DIR/val/images/*.JPEG, DIR/val/val_annotations.txt     file, class id, box (x0, y0, x1, y1)
DIR/words.txt                                          class id, then names for it, by commas
"""

import os
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

SIZE = 64  # pixels of a side


class Photos(NamedTuple):
    images: np.ndarray  # (N, SIZE, SIZE, 3) uint8 RGB, mapped from a file
    labels: np.ndarray  # (N,)
    boxes: np.ndarray | None = None  # (N, 4): x0, y0, x1, y1 in pixels, both inside; val only
    files: tuple[str, ...] = ()  # names in val/images; val only


def read_names(photos: Path) -> dict[str, list[str]]:
    """The names of every id of words.txt, the most usual one first."""
    path, names = photos / 'words.txt', {}
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        key, tab, text = line.partition('\t')
        names[key] = [name.strip().lower() for name in text.split(',') if name.strip()]
        if not tab or not names[key]:
            raise ValueError(
                f'{path}, line {number}: found {line!r}; expected a class id, a tab, and names '
                'that are separated by commas'
            )
    return names


def class_ids(photos: Path) -> list[str]:
    """Ids of the classes in the order of their labels."""
    ids = sorted(path.name for path in (photos / 'train').iterdir() if path.is_dir())
    lacking = sorted(set(ids) - set(read_names(photos)))
    if lacking:
        raise ValueError(f'{photos / "words.txt"} has no names for the class folders {lacking}')
    return ids


def read_train(photos: Path, cache: Path) -> Photos:
    """Training photographs, class by class."""
    files, labels = [], []
    for label, key in enumerate(class_ids(photos)):
        found = sorted((photos / 'train' / key / 'images').iterdir())
        files += found
        labels += [label] * len(found)
    return Photos(_decode(files, cache / f'train_{SIZE}.npy'), np.array(labels))


def read_val(photos: Path, cache: Path) -> Photos:
    """Validation photographs, with the box of the object in each."""
    label_of = {key: label for label, key in enumerate(class_ids(photos))}
    text = (photos / 'val' / 'val_annotations.txt').read_text(encoding='utf-8')
    rows = [line.split('\t') for line in text.splitlines()]
    names = tuple(row[0] for row in rows)
    files = [photos / 'val' / 'images' / name for name in names]
    labels = np.array([label_of[row[1]] for row in rows])
    boxes = np.array([row[2:6] for row in rows], dtype=int)
    return Photos(_decode(files, cache / f'val_{SIZE}.npy'), labels, boxes, names)


def _decode(files: list[Path], target: Path) -> np.ndarray:
    """All files as one array that is mapped from `target`, which is written first if need be.

    Its name says which files: an array of others, or of what they were before, is not taken.
    """
    shape = (len(files), SIZE, SIZE, 3)
    which = '\n'.join(f'{file.absolute()} {file.stat().st_mtime_ns}' for file in files)
    target = target.with_stem(f'{target.stem}_{zlib.crc32(which.encode()):08x}')
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix('.part')
        images = np.lib.format.open_memmap(part, 'w+', np.uint8, shape)
        for index, file in enumerate(tqdm(files, desc=f'decoding {target.stem}', mininterval=5)):
            images[index] = read_image(file)
        images.flush()
        os.replace(part, target)
    return np.load(target, mmap_mode='c')  # 'r' is read-only, which torch warns of


def read_image(file: Path) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8 RGB: the shorter side is scaled to SIZE, the middle is kept."""
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{file} cannot be read as an image')
    height, width = image.shape[:2]
    if (height, width) != (SIZE, SIZE):
        scale = SIZE / min(height, width)
        size = max(round(width * scale), SIZE), max(round(height * scale), SIZE)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        top, left = (image.shape[0] - SIZE) // 2, (image.shape[1] - SIZE) // 2
        image = image[top : top + SIZE, left : left + SIZE]
    return image[..., ::-1]

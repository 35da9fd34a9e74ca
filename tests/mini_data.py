"""Miniatures of all the benchmark's sets, in all layouts: tiny images, a class is a colour."""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from timm.data import ImageNetInfo

from sotglp_mm.class_names.resolve import resolve_class_names
from sotglp_mm.datasets.known_sets import KNOWN_SETS, KnownSet

PER_CLASS = {'train': 4, 'val': 1, 'test': 2}
WNIDS = tuple(ImageNetInfo().label_names()[:4])
AIRCRAFT = ('707-320', 'Cessna 172', 'F/A-18')
"""Names with a space and with a slash; in the order of the package's list."""

SHIFT_LABELS = {
    'imagenetv2': (0, 1, 2, 3),
    'imagenet_sketch': (0, 1, 2, 3),
    'imagenet_a': (1, 3),
    'imagenet_r': (0, 2),
}
OOD_IMAGES = 6
COLOURS = np.array([(170, 0, 0), (0, 170, 0), (0, 0, 170), (170, 170, 0)])


class MiniSet(NamedTuple):
    """What was written."""

    classes: tuple[str, ...]
    """In label order; empty for OOD sets. Those of 'imagenet' are CLIP's names."""

    counts: dict[str, int]
    """Images of each split."""


def write_all(all_data: Path) -> dict[str, dict]:
    """Every known set in CoOp's place; what ``check_data.py --expected`` reads."""
    written = {name: write_set(all_data, name) for name in KNOWN_SETS}
    return {
        name: dict(num_classes=len(mini.classes), counts=mini.counts)
        for name, mini in written.items()
    }


def write_set(all_data: Path, name: str, images_in: str = '', num_classes: int = 3) -> MiniSet:
    """One set, in CoOp's place, or with its images in a folder.

    CoOp's split file stays in CoOp's folder of the set; FGVCAircraft's own lists go with the
    images, as in its archive. ``num_classes`` is of the sets with a split file.
    """
    known = KNOWN_SETS[name]
    images = all_data / (images_in or f'{known.folder}/{known.images}')
    if name == 'imagenet':
        return _write_imagenet(images)
    if name == 'fgvc_aircraft':
        return _write_aircraft(images)
    if name == 'textures':
        return _write_textures(images)
    if known.kind == 'few_shot':
        return _write_split_set(images, all_data / known.folder, known, num_classes)
    return _write_shift(images, name) if known.kind == 'shift' else _write_ood(images, name)


def write_image(file: Path, label: int) -> None:
    """Its name seeds the noise, so no two images are alike and a second time gives the same."""
    rng = np.random.default_rng(zlib.crc32('/'.join(file.parts[-3:]).encode()))
    pixels = rng.integers(0, 80, (36, 40, 3)) + COLOURS[label]
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(file, format='JPEG')


def split_path(name: str, class_name: str, number: int) -> str:
    """Of an image below the images' folder; two sets have no folder for each class."""
    flat = name in ('oxford_pets', 'oxford_flowers')
    return f'{class_name}{"_" if flat else "/"}{class_name}_{number:04d}.jpg'


def _write_split_set(images: Path, folder: Path, known: KnownSet, num_classes: int) -> MiniSet:
    classes = resolve_class_names(known.name)[:num_classes]
    splits: dict[str, list] = {split: [] for split in PER_CLASS}
    for label, class_name in enumerate(classes):
        for number, split in enumerate(_split_of_each(), start=1):
            relative = split_path(known.name, class_name, number)
            write_image(images / relative, label % len(COLOURS))
            splits[split].append([relative, label, class_name])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / known.split_file).write_text(json.dumps(splits))
    return MiniSet(classes, {split: len(rows) for split, rows in splits.items()})


def _split_of_each() -> list[str]:
    return [split for split, count in PER_CLASS.items() for _ in range(count)]


def _write_aircraft(images: Path) -> MiniSet:
    lines: dict[str, list[str]] = {split: [] for split in PER_CLASS}
    for label, variant in enumerate(AIRCRAFT):
        for number, split in enumerate(_split_of_each(), start=1):
            image_id = f'{1000000 + 100 * number + label:07d}'
            write_image(images / f'{image_id}.jpg', label)
            lines[split].append(f'{image_id} {variant}')
    for split, rows in lines.items():
        _write_lines(images.parent / f'images_variant_{split}.txt', rows)
    _write_lines(images.parent / 'variants.txt', AIRCRAFT)
    return MiniSet(AIRCRAFT, {split: len(rows) for split, rows in lines.items()})


def _write_lines(file: Path, lines: Iterable[str]) -> None:
    file.write_text(''.join(f'{line}\n' for line in lines))


def _write_imagenet(images: Path) -> MiniSet:
    counts = {'train': 4, 'val': 2}
    for split, count in counts.items():
        for label, wnid in enumerate(WNIDS):
            for number in range(1, count + 1):
                file = f'{wnid}_{number}.JPEG'
                if split == 'val':
                    file = f'ILSVRC2012_val_{label * count + number:08d}.JPEG'
                write_image(images / split / wnid / file, label)
    totals = {split: count * len(WNIDS) for split, count in counts.items()}
    return MiniSet(resolve_class_names('imagenet')[: len(WNIDS)], totals)


def _write_shift(images: Path, name: str) -> MiniSet:
    labels = SHIFT_LABELS[name]
    for label in labels:
        folder = str(label) if name == 'imagenetv2' else WNIDS[label]
        for number in range(3):
            write_image(images / folder / f'{name}_{label}_{number}.jpg', label)
    names = resolve_class_names('imagenet')
    return MiniSet(tuple(names[label] for label in labels), {'test': 3 * len(labels)})


def _write_ood(images: Path, name: str) -> MiniSet:
    for number in range(OOD_IMAGES):
        write_image(images / f'{name}_{number}.jpg', number % len(COLOURS))
    return MiniSet((), {'test': OOD_IMAGES})


def _write_textures(images: Path) -> MiniSet:
    """All of DTD, which is the same files where both lie in CoOp's place."""
    classes = resolve_class_names('dtd')[:3]
    for label, class_name in enumerate(classes):
        for number in range(1, 1 + sum(PER_CLASS.values())):
            write_image(images / split_path('dtd', class_name, number), label)
    return MiniSet((), {'test': len(classes) * sum(PER_CLASS.values())})


# Other layouts in circulation, not taken from the list in the package: where the images of a set
# lie, as instructions draw it.
GALLOP = {
    'imagenet': 'Imagenet',
    'imagenetv2': 'imagenetv2-matched-frequency-format-val',
    'imagenet_a': 'imagenet-a',
    'imagenet_r': 'imagenet-r',
    'imagenet_sketch': 'sketch',
    'caltech101': 'caltech101/101_ObjectCategories',
    'eurosat': 'EuroSAT_RGB',
    'dtd': 'dtddataset/dtd/images',
    'fgvc_aircraft': 'fgvc-aircraft-2013b/data/images',
    'oxford_flowers': 'flowers102',
    'food101': 'food-101/images',
    'oxford_pets': 'oxford-iiit-pet/images',
    'stanford_cars': 'stanford_cars',
    'sun397': 'SUN397',
    'ucf101': 'UCF-101-midframes',
    'inaturalist': 'ood_data/iNaturalist',
    'sun': 'ood_data/SUN',
    'places': 'ood_data/Places',
    'textures': 'ood_data/dtd/images',
}
_OF_IMAGENET = ('imagenetv2', 'imagenet_a', 'imagenet_r', 'imagenet_sketch')
_NOT_FEW_SHOT = ('imagenet', 'inaturalist', 'sun', 'places', 'textures', *_OF_IMAGENET)

LAYOUTS = {
    'gallop': GALLOP,
    'inner_folders': {
        'oxford_flowers': 'flowers102/jpg',
        'inaturalist': 'ood_data/iNaturalist/images',
        'sun': 'ood_data/SUN/images',
        'places': 'ood_data/Places/images',
    },
    'suite': {
        name: f'dataset_suite/{images}'
        for name, images in GALLOP.items()
        if name not in _NOT_FEW_SHOT
    },
    'domains': {name: f'domains/{GALLOP[name]}' for name in _OF_IMAGENET},
}

PLACES = [(name, images) for layout in LAYOUTS.values() for name, images in layout.items()]
"""(Set, folder of its images below $DATA), over all layouts."""

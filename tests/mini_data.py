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
EUROSAT = (
    *('AnnualCrop', 'Forest', 'HerbaceousVegetation', 'Highway', 'Industrial'),
    *('Pasture', 'PermanentCrop', 'Residential', 'River', 'SeaLake'),
)
"""Its folders."""

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


def write_set(
    all_data: Path,
    name: str,
    other_place: int | None = None,
    images_in: str = '',
    num_classes: int = 3,
) -> MiniSet:
    """One set, in CoOp's place, in ``KNOWN_SETS[name].other_places[other_place]``, or in a folder.

    CoOp's split file stays in CoOp's folder of the set; FGVCAircraft's own lists go with the
    images, as in its archive. ``num_classes`` is of the sets with a split file.
    """
    known = KNOWN_SETS[name]
    place = (known.folder, known.images)
    if other_place is not None:
        place = known.other_places[other_place]
    images = all_data / place[0] / place[1]
    if images_in:
        images = all_data / images_in
        place = (str(images.parent.relative_to(all_data)), images.name)
    if name == 'imagenet':
        return _write_imagenet(images)
    if name == 'fgvc_aircraft':
        return _write_aircraft(images, all_data / place[0])
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


def split_path(name: str, class_name: str, label: int, split: str, number: int) -> str:
    """Path of an image below the images' folder, in the style of the real set.

    Args:
        number: Of the image in its class, from 1; goes on over the splits.
    """
    running = label * sum(PER_CLASS.values()) + number
    caltech = ('Faces', 'Leopards', 'Motorbikes')[label % 3]
    pet = class_name.capitalize() if label == 0 else class_name  # cats are capitalised
    eurosat = EUROSAT[label]
    clip = f'v_{class_name.replace("_", "")}_g{number:02d}_c01'
    return {
        'caltech101': f'{caltech}/image_{number:04d}.jpg',
        'oxford_pets': f'{pet}_{number}.jpg',
        'stanford_cars': f'cars_{"test" if split == "test" else "train"}/{running:05d}.jpg',
        'oxford_flowers': f'image_{running:05d}.jpg',
        'food101': f'{class_name}/{1000000 + running}.jpg',
        'sun397': f'a/{class_name}/sun_{class_name[:4]}{number:04d}.jpg',
        'dtd': f'{class_name}/{class_name}_{number:04d}.jpg',
        'eurosat': f'{eurosat}/{eurosat}_{number}.jpg',
        'ucf101': f'{class_name}/{clip}.jpg',
    }[name]


def _write_split_set(images: Path, folder: Path, known: KnownSet, num_classes: int) -> MiniSet:
    classes = resolve_class_names(known.name)[:num_classes]
    splits: dict[str, list] = {split: [] for split in PER_CLASS}
    for label, class_name in enumerate(classes):
        for number, split in enumerate(_split_of_each(), start=1):
            relative = split_path(known.name, class_name, label, split, number)
            write_image(images / relative, label % len(COLOURS))
            splits[split].append([relative, label, class_name])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / known.split_file).write_text(json.dumps(splits))
    return MiniSet(classes, {split: len(rows) for split, rows in splits.items()})


def _split_of_each() -> list[str]:
    return [split for split, count in PER_CLASS.items() for _ in range(count)]


def _write_aircraft(images: Path, folder: Path) -> MiniSet:
    lines: dict[str, list[str]] = {split: [] for split in PER_CLASS}
    for label, variant in enumerate(AIRCRAFT):
        for number, split in enumerate(_split_of_each(), start=1):
            image_id = f'{1000000 + 100 * number + label:07d}'
            write_image(images / f'{image_id}.jpg', label)
            lines[split].append(f'{image_id} {variant}')
    for split, rows in lines.items():
        _write_lines(folder / f'images_variant_{split}.txt', rows)
    _write_lines(folder / 'variants.txt', AIRCRAFT)
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
        for number, split in enumerate(_split_of_each(), start=1):
            write_image(images / split_path('dtd', class_name, label, split, number), label)
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
    'coop_in_suite': {
        'caltech101': 'dataset_suite/caltech-101/101_ObjectCategories',
        'oxford_flowers': 'dataset_suite/oxford_flowers/jpg',
        'eurosat': 'dataset_suite/eurosat/2750',
        'stanford_cars': 'dataset_suite/stanford_cars',
        'fgvc_aircraft': 'dataset_suite/fgvc_aircraft/images',
    },
    'domains': {name: f'domains/{GALLOP[name]}' for name in _OF_IMAGENET},
    'coop_in_domains': {
        'imagenet_sketch': 'domains/imagenet-sketch/images',
        'imagenet_a': 'domains/imagenet-adversarial/imagenet-a',
    },
}

PLACES = [(name, images) for layout in LAYOUTS.values() for name, images in layout.items()]
"""(Set, folder of its images below $DATA), over all layouts."""

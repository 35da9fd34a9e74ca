"""The images that a set lists, by split, and its classes; what cannot be listed is a fault."""

import json
from pathlib import Path
from typing import NamedTuple

from ..datasets.coop_split_dataset import find_split_list, read_split_list
from ..datasets.known_sets import COOP, KnownSet, Place
from ..datasets.listed_images import check_inside
from ..io.files import read_lines
from ..io.image_files import image_files
from .data_report import Fault, some_of

UNLISTED = 'unlisted'
"""Name of the split that holds all images of a set whose lists are missing."""


class Listing(NamedTuple):
    """What a set says that it holds."""

    images: dict[str, list[Path]]  # by split; they need not exist
    classes: tuple[str, ...] = ()  # names, or names of folders, in label order
    faults: tuple[Fault, ...] = ()


def read_listing(all_data: Path, known: KnownSet, place: Place) -> Listing:
    """The images of each split of a set that lies at ``place``."""
    if known.split_file:
        return _read_split_file(all_data, known, place)
    if known.name == 'fgvc_aircraft':
        return _read_aircraft(known, place)
    if known.kind == 'ood':
        return Listing({'test': _images_below(place.images)})
    if known.kind == 'shift':
        return _read_class_folders({'test': place.images}, known)
    return _read_class_folders({split: place.images / split for split in known.counts}, known)


def _images_below(folder: Path) -> list[Path]:
    return [folder / path for path in image_files(folder)]


def _read_split_file(all_data: Path, known: KnownSet, place: Place) -> Listing:
    try:
        file = find_split_list(known.split_file, place.folder, all_data / known.folder)
    except FileNotFoundError as error:
        return _unlisted(place, 'incomplete', str(error))
    try:
        splits, classes = read_split_list(file)
        json.dumps(splits, ensure_ascii=False).encode()  # a lone surrogate is no text to print
    except (ValueError, OSError) as error:
        text = f'{file} cannot be used: {error}; get it again from {COOP}'
        return _unlisted(place, 'damaged', text)
    images = {split: [place.images / row[0] for row in rows] for split, rows in splits.items()}
    absent = [split for split in known.counts if split not in splits]
    text = f'{file} has no split {some_of(absent)}; get it again from {COOP}'
    return Listing(images, classes, (Fault('incomplete', text),) if absent else ())


def _unlisted(place: Place, status: str, text: str) -> Listing:
    return Listing({UNLISTED: _images_below(place.images)}, (), (Fault(status, text),))


def _read_aircraft(known: KnownSet, place: Place) -> Listing:
    variants = place.folder / 'variants.txt'
    lists = {split: place.folder / f'images_variant_{split}.txt' for split in known.counts}
    absent = [str(file) for file in (variants, *lists.values()) if not file.is_file()]
    if absent:
        text = f'{some_of(absent)} missing; they come with the images, {known.source}'
        return _unlisted(place, 'incomplete', text)
    try:
        classes = tuple(read_lines(variants))
        rows_of = {s: [line.partition(' ') for line in read_lines(f)] for s, f in lists.items()}
        check_inside([row for rows in rows_of.values() for row in rows], str(place.folder))
    except (ValueError, OSError) as error:
        return _unlisted(place, 'damaged', f'{error}; get it again from {known.source}')
    images, faults = {}, []
    for split, rows in rows_of.items():
        images[split] = [place.images / f'{image_id}.jpg' for image_id, _, _ in rows]
        unknown = sorted({variant.strip() for _, _, variant in rows} - set(classes))
        if unknown:
            text = f'{lists[split]} names variants that {variants} has not: {some_of(unknown)}'
            faults.append(Fault('damaged', text))
    return Listing(images, classes, tuple(faults))


def _read_class_folders(folders: dict[str, Path], known: KnownSet) -> Listing:
    images, faults = {}, []
    classes: dict[str, list[str]] = {}
    for split, folder in folders.items():
        if not folder.is_dir():
            text = f'folder {folder} does not exist; get it at {known.source}'
            faults.append(Fault('incomplete', text))
            continue
        # hidden ones are no classes to the datasets
        classes[split] = sorted(
            f.name for f in folder.iterdir() if f.is_dir() and f.name[0] != '.'
        )
        images[split] = [path for name in classes[split] for path in _images_below(folder / name)]
    every = sorted(set().union(*classes.values()), key=_label_order)
    for split, names in classes.items():
        absent = [name for name in every if name not in set(names)]
        if absent:
            text = f'{folders[split]} does not have all class folders of the other split'
            faults.append(Fault('incomplete', f'{text}: {some_of(absent)}'))
    return Listing(images, tuple(every), tuple(faults))


def _label_order(folder: str) -> tuple[int, str]:
    return (int(folder) if folder.isdecimal() else 0, folder)

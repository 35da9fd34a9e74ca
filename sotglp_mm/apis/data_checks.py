"""The checks of one set, from where it lies to what its files hold, and the report on it."""

import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from timm.data import ImageNetInfo
from tqdm import tqdm

from ..class_names.resolve import resolve_class_names
from ..datasets.coop_datasets import find_split_list, read_aircraft_lists, read_split_list
from ..datasets.known_sets import COOP, KnownSet, Place, find_place
from ..datasets.listed_images import check_inside
from ..io.image_files import image_files
from ..io.names import some_of
from ..io.own_images import read_own_images

UNLISTED = 'unlisted'
"""Name of the split that holds all images of a set whose lists are missing."""

SUBFOLDERS = {'imagenet': ('val', 'train'), 'stanford_cars': ('cars_train', 'cars_test')}
"""What tells a folder of images from one that holds other things, e.g. a split file only."""

Images = dict[str, list[Path]]
"""By split; they need not exist."""


class Fault(NamedTuple):
    """Something that makes a set unfit for a run."""

    status: str  # 'absent', 'incomplete' (something is missing) or 'damaged' (there, but wrong)
    text: str  # what was found, what was expected, what to do


@dataclass
class SetReport:
    """All that is known of one set; names as in ``--json``."""

    name: str
    place: Path
    asked: Path
    num_classes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing_images: list[str] = field(default_factory=list)
    undecodable_images: dict[str, str] = field(default_factory=dict)
    duplicates: list[list[str]] = field(default_factory=list)
    leakage: list[list[str]] = field(default_factory=list)

    def add(self, status: str, text: str) -> None:
        self.problems.append(Fault(status, text))

    @property
    def status(self) -> str:
        found = {fault.status for fault in self.problems}
        return next((each for each in ('absent', 'damaged', 'incomplete') if each in found), 'ok')

    def as_json(self) -> dict:
        found = asdict(self) | dict(status=self.status, place=str(self.place))
        found |= dict(other_place=self.place != self.asked)
        found['problems'] = [fault._asdict() for fault in self.problems]
        return {key: value for key, value in found.items() if key not in ('name', 'asked')}

    def __str__(self) -> str:
        if self.status == 'absent':
            what = 'not found'
        else:
            parts = [plural(self.num_classes, 'class')] if self.num_classes else []
            parts += [f'{split} {count}' for split, count in self.counts.items()]
            what = f'{", ".join(parts) or "no list of images"}; {self.place}'
        lines = [f'{self.status:<12}{self.name:<16}{what}']
        lines += [f'    - {fault.text}' for fault in self.problems]
        return '\n'.join(lines + [f'    note: {note}' for note in self.notes])


def plural(number: int, noun: str) -> str:
    """'1 class', '2 classes', '3 images'."""
    ending = 'es' if noun.endswith('s') else 's'
    return f'{number} {noun}' + (ending if number != 1 else '')


def check_set(
    all_data: Path, known: KnownSet, expected: dict, decode: bool, look_for_duplicates: bool
) -> SetReport:
    """Check a set below ``all_data``; expected: ``{'num_classes': C, 'counts': {split: n}}``."""
    place = locate(all_data, known)
    asked = all_data / known.folder / known.images
    report = SetReport(known.name, place.images, asked)
    listed = known.split_file and (place.folder / known.split_file).is_file()
    if not place.images.is_dir() and not listed:
        text = f'expected in {asked}; images: {known.source}'
        text += f'; {known.split_file}: {COOP}' if known.split_file else ''
        fetch = f'; or fetch the images with --download {known.name}'
        report.add('absent', text + (fetch if known.torchvision else ''))
        return report
    if place.images != asked:
        report.notes.append(f'{asked} does not exist; this other place is recognised')
    images, classes = _list_images(report, all_data, known, place)
    report.num_classes = len(classes)
    if UNLISTED not in images:  # else it is a fault already
        _check_counts(report, images, known, expected)
    _check_classes(report, classes, known)
    _check_files(report, images, decode, look_for_duplicates)
    return report


def check_own_images(source: Path, decode: bool, look_for_duplicates: bool) -> SetReport:
    """Check a user's own images: a folder or a .csv file; notes as the dataset logs them."""
    own = read_own_images(source)
    rows = own.splits or {'all': [[path] for path, _ in own.labelled]}
    images = {split: [own.folder / row[0] for row in part] for split, part in rows.items()}
    if images.get('val') == images.get('test'):  # one split serves as both
        images.pop('val', None)
    report = SetReport('own images', own.source, own.source, len(own.classes), notes=own.notes)
    _check_files(report, images, decode, look_for_duplicates)
    return report


def locate(all_data: Path, known: KnownSet) -> Place:
    """As the datasets do, without their log line: the report says it."""
    for subfolder in SUBFOLDERS.get(known.name, ('',)):
        place = find_place(all_data / known.folder, known.images, subfolder, quiet=True)
        if (place.images / subfolder).is_dir():
            break
    return place


def _list_images(
    report: SetReport, all_data: Path, known: KnownSet, place: Place
) -> tuple[Images, tuple[str, ...]]:
    """Images by split, and classes (names, or names of folders) in label order."""
    if known.kind == 'ood':
        return {'test': _images_below(place.images)}, ()
    if known.kind == 'shift':
        return _list_class_folders(report, {'test': place.images}, known)
    if known.name == 'imagenet':
        folders = {split: place.images / split for split in known.counts}
        return _list_class_folders(report, folders, known)
    try:
        if known.name == 'fgvc_aircraft':
            return _list_aircraft(known, place)
        return _list_split_file(report, all_data, known, place)
    except FileNotFoundError as error:
        report.add('incomplete', str(error))
    except (ValueError, OSError) as error:
        source = COOP if known.split_file else known.source
        report.add('damaged', f'{error}; get it again from {source}')
    return {UNLISTED: _images_below(place.images)}, ()


def _images_below(folder: Path) -> list[Path]:
    return [folder / path for path in image_files(folder)]


def _list_split_file(
    report: SetReport, all_data: Path, known: KnownSet, place: Place
) -> tuple[Images, tuple[str, ...]]:
    file = find_split_list(known.split_file, place.folder, all_data / known.folder)
    try:
        splits, classes = read_split_list(file)
        json.dumps(splits, ensure_ascii=False).encode()  # a lone surrogate is no text to print
    except (ValueError, OSError) as error:
        raise ValueError(f'{file} cannot be used: {error}') from error
    absent = [split for split in known.counts if split not in splits]
    if absent:
        text = f'{file} has no split {some_of(absent)}; get it again from {COOP}'
        report.add('incomplete', text)
    return {s: [place.images / row[0] for row in rows] for s, rows in splits.items()}, classes


def _list_aircraft(known: KnownSet, place: Place) -> tuple[Images, tuple[str, ...]]:
    names = ['variants.txt', *(f'images_variant_{split}.txt' for split in known.counts)]
    absent = [str(place.folder / name) for name in names if not (place.folder / name).is_file()]
    if absent:
        raise FileNotFoundError(
            f'{some_of(absent)} missing; they come with the images, {known.source}'
        )
    rows_of, classes = read_aircraft_lists(place.folder, known.counts)
    for file, rows in rows_of.items():
        check_inside(rows, str(file))
    parts = [[place.images / row[0] for row in rows] for rows in rows_of.values()]
    return dict(zip(known.counts, parts)), tuple(classes)


def _list_class_folders(
    report: SetReport, folders: dict[str, Path], known: KnownSet
) -> tuple[Images, tuple[str, ...]]:
    images: Images = {}
    classes: dict[str, list[str]] = {}
    for split, folder in folders.items():
        if not folder.is_dir():
            report.add('incomplete', f'folder {folder} does not exist; get it at {known.source}')
            continue
        # hidden ones are no classes to the datasets
        inside = sorted(f.name for f in folder.iterdir() if f.is_dir() and f.name[0] != '.')
        classes[split] = inside
        images[split] = [path for name in inside for path in _images_below(folder / name)]
    every = sorted(
        set().union(*classes.values()), key=lambda n: (int(n) if n.isdecimal() else 0, n)
    )
    for split, names in classes.items():
        absent = [name for name in every if name not in set(names)]
        if absent:
            text = f'{folders[split]} does not have all class folders of the other split'
            report.add('incomplete', f'{text}: {some_of(absent)}')
    return images, tuple(every)


def _check_counts(report: SetReport, images: Images, known: KnownSet, expected: dict) -> None:
    found = [
        (f'split {split} has', len(images[split]), 'image', count)
        for split, count in expected['counts'].items()
        if split in images
    ]
    found.append(('there are', report.num_classes, 'class', expected['num_classes']))
    source = COOP if known.split_file else known.source
    for text, number, noun, wanted in found:
        if number != wanted:
            text = f'{text} {plural(number, noun)}, expected {wanted}; compare with {source}'
            report.add('incomplete' if number < wanted else 'damaged', text)


def _check_classes(report: SetReport, classes: tuple[str, ...], known: KnownSet) -> None:
    """Names and order against the package's list; a subset is to keep the order."""
    if known.kind == 'ood':
        return
    if known.name == 'imagenetv2':
        names = [str(label) for label in range(1000)]
    elif known.kind == 'shift' or known.name == 'imagenet':
        names = ImageNetInfo().label_names()
    else:
        names = list(resolve_class_names(known.name))
    order = {_plain(name): rank for rank, name in enumerate(names)}
    unknown = [name for name in classes if _plain(name) not in order]
    if unknown:
        text = f'classes that the list of {known.name} has not: {some_of(unknown)}'
        report.add('damaged', f'{text}; expected e.g. {some_of(list(order))}')
        return
    for before, after in pairwise(classes):
        if order[_plain(before)] >= order[_plain(after)]:
            text = f'class order: {before!r} comes before {after!r}, expected the reverse'
            report.add('damaged', f'{text}; labels would not fit published class names')
            return


def _plain(name: str) -> str:
    return name.replace('_', ' ').strip()


def _check_files(
    report: SetReport, images: Images, decode: bool, look_for_duplicates: bool
) -> None:
    """Count images by split; see whether they are there, can be decoded, and all differ."""
    report.counts = {split: len(part) for split, part in images.items()}
    splits_of: dict[Path, list[str]] = {}
    for split, part in images.items():
        for image in part:
            splits_of.setdefault(image, []).append(split)
    there = {image: os.path.isfile(image) for image in splits_of}  # no error for an endless name
    report.missing_images = [str(image) for image, is_there in there.items() if not is_there]
    readable = [image for image, is_there in there.items() if is_there]
    if decode:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of odd metadata; pixels are what counts
            reasons = _each(_why_undecodable, readable, f'{report.name}: decoding')
        readable = [image for image in readable if not reasons[image]]
        report.undecodable_images = {str(image): why for image, why in reasons.items() if why}
    named = [f'{image} ({why})' for image, why in report.undecodable_images.items()]
    for status, files, noun, what, advice in (
        ('incomplete', report.missing_images, 'listed image', 'missing', 'complete the download'),
        ('damaged', named, 'image', 'cannot be decoded', 'replace them'),
    ):
        if files:
            text = f'{plural(len(files), noun)} {what}: {some_of(files)}; {advice}'
            report.add(status, text)
    if look_for_duplicates:
        _check_duplicates(report, readable, splits_of)


def _check_duplicates(report: SetReport, there: list[Path], splits_of: dict) -> None:
    # only files of equal size are read
    sizes = {file: file.stat().st_size for file in there}
    count = Counter(sizes.values())
    alike = [file for file in there if count[sizes[file]] > 1]
    by_content: dict[str, list[Path]] = {}
    for file, digest in _each(_sha256, alike, f'{report.name}: looking for duplicates').items():
        by_content.setdefault(digest, []).append(file)
    groups = [same for same in by_content.values() if len(same) > 1]
    # an image that two splits list has no twin on disk, and is the worst of duplicates
    groups += [[image] * len(splits) for image, splits in splits_of.items() if splits[1:]]
    # what results are reported on; ImageNet's is val
    reported = 'test' if 'test' in report.counts else 'val'
    for group in groups:
        splits = {split for image in group for split in splits_of[image]}
        report.duplicates.append([str(image) for image in group])
        if reported in splits and len(splits) > 1:
            report.leakage.append(report.duplicates[-1])
    leakage = f' in {reported} and another split (LEAKAGE)'
    for found, where in (report.duplicates, ''), (report.leakage, leakage):
        if found:
            text = f'{plural(len(found), "group")} of identical images{where}, the first'
            report.notes.append(f'{text}: {" = ".join(found[0][:3])}')


def _why_undecodable(file: Path) -> str:
    try:
        with Image.open(file) as image:
            image.convert('RGB')
    except Exception as error:  # decoders raise whatever they like
        return f'{type(error).__name__}: {error}'
    return ''


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _each(function: Callable[[Path], str], files: Sequence[Path], title: str) -> dict[Path, str]:
    """The function's value of every file, in order."""
    with ThreadPool(min(8, os.cpu_count() or 1)) as threads:
        values = threads.imap(function, files, chunksize=64)
        bar = tqdm(values, title, len(files), unit='file', leave=False, disable=None)
        return dict(zip(files, bar))

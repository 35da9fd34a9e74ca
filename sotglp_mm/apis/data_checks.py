"""The checks of one set, from where it lies to what its files hold."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from mmengine.logging import MMLogger
from timm.data import ImageNetInfo

from ..class_names.resolve import resolve_class_names
from ..datasets.known_sets import COOP, KnownSet, Place, find_place
from ..io.image_checks import duplicates, undecodable
from ..io.own_images import read_own_images
from .data_listing import UNLISTED, Listing, read_listing
from .data_report import SHOWN, Fault, SetReport, plural, some_of

SUBFOLDERS = {'imagenet': ('val', 'train'), 'stanford_cars': ('cars_train', 'cars_test')}
"""What tells a folder of images from one that holds other things, e.g. a split file only."""


def check_set(
    all_data: Path, known: KnownSet, expected: dict, decode: bool, look_for_duplicates: bool
) -> SetReport:
    """Check a set below ``all_data``; expected: ``{'num_classes': C, 'counts': {split: n}}``."""
    place = locate(all_data, known)
    asked = all_data / known.folder / known.images
    report = SetReport(known.name, place.images, asked)
    listed = known.split_file and (place.folder / known.split_file).is_file()
    if not place.images.is_dir() and not listed:
        report.problems.append(Fault('absent', _how_to_get(known, asked)))
        return report
    if place.images != asked:
        report.notes.append(f'{asked} does not exist; this other place is recognised')
    listing = read_listing(all_data, known, place)
    report.num_classes = len(listing.classes)
    report.problems += [*listing.faults, *_check_counts(listing, known, expected)]
    report.problems += _check_classes(listing.classes, known)
    _check_files(report, listing.images, decode, look_for_duplicates)
    return report


def check_own_images(source: Path, decode: bool, look_for_duplicates: bool) -> SetReport:
    """Check a user's own images: a folder or a .csv file; notes as the dataset logs them.

    Raises:
        FileNotFoundError, ValueError: They cannot be used as they are.
    """
    own = read_own_images(source)
    rows = own.splits or {'all': [[path] for path, _ in own.labelled]}
    images = {split: [own.folder / row[0] for row in part] for split, part in rows.items()}
    if images.get('val') == images.get('test'):  # one split serves as both
        images.pop('val', None)
    report = SetReport('own images', own.source, own.source, len(own.classes))
    report.notes += own.notes
    _check_files(report, images, decode, look_for_duplicates)
    return report


def locate(all_data: Path, known: KnownSet) -> Place:
    """As the datasets do, without their log line: the report says it."""
    with _quiet_log():
        for subfolder in SUBFOLDERS.get(known.name, ('',)):
            place = find_place(all_data / known.folder, known.images, subfolder)
            if (place.images / subfolder).is_dir():
                break
    return place


@contextmanager
def _quiet_log() -> Iterator[None]:
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _how_to_get(known: KnownSet, asked: Path) -> str:
    text = f'expected in {asked}; images: {known.source}'
    if known.split_file:
        text += f'; {known.split_file}: {COOP}'
    if known.torchvision:
        text += f'; or fetch the images with --download {known.name}'
    return text


def _check_counts(listing: Listing, known: KnownSet, expected: dict) -> Iterator[Fault]:
    """Classes, and images of each split; what is not listed at all is a fault already."""
    if UNLISTED in listing.images:
        return
    source = COOP if known.split_file else known.source
    pairs = [
        (f'split {split} has', len(listing.images[split]), 'image', count)
        for split, count in expected['counts'].items()
        if split in listing.images
    ]
    pairs.append(('there are', len(listing.classes), 'class', expected['num_classes']))
    for text, number, noun, wanted in pairs:
        if number != wanted:
            status = 'incomplete' if number < wanted else 'damaged'
            found = f'{text} {plural(number, noun)}, expected {wanted}'
            yield Fault(status, f'{found}; compare with {source}')


def _check_classes(classes: tuple[str, ...], known: KnownSet) -> list[Fault]:
    """Names and order against the package's list; a subset is to keep the order."""
    order = _known_classes(known)
    unknown = [name for name in classes if _plain(name) not in order]
    if unknown and order:
        text = f'classes that the list of {known.name} has not: {some_of(unknown)}'
        return [Fault('damaged', f'{text}; expected e.g. {some_of(list(order))}')]
    for before, after in pairwise(classes) if order else ():
        if order[_plain(before)] >= order[_plain(after)]:
            text = f'class order: {before!r} comes before {after!r}, expected the reverse'
            return [Fault('damaged', f'{text}; labels would not fit published class names')]
    return []


def _known_classes(known: KnownSet) -> dict[str, int]:
    """Rank of each class, by its name or the name of its folder."""
    if known.kind == 'ood':
        return {}
    if known.name == 'imagenetv2':
        names = [str(label) for label in range(1000)]
    elif known.kind == 'shift' or known.name == 'imagenet':
        names = ImageNetInfo().label_names()
    else:
        names = list(resolve_class_names(known.name))
    return {_plain(name): rank for rank, name in enumerate(names)}


def _plain(name: str) -> str:
    return name.replace('_', ' ').strip()


def _check_files(
    report: SetReport, images: dict[str, list[Path]], decode: bool, look_for_duplicates: bool
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
        broken = undecodable(readable, f'{report.name}: decoding')
        readable = [image for image in readable if image not in broken]
        report.undecodable_images = {str(image): why for image, why in broken.items()}
    named = [f'{image} ({why})' for image, why in report.undecodable_images.items()]
    for status, files, noun, what, advice in (
        ('incomplete', report.missing_images, 'listed image', 'missing', 'complete the download'),
        ('damaged', named, 'image', 'cannot be decoded', 'replace them'),
    ):
        if files:
            text = f'{plural(len(files), noun)} {what}: {some_of(files)}; {advice}'
            report.problems.append(Fault(status, text))
    if look_for_duplicates:
        _check_duplicates(report, readable, splits_of)


def _check_duplicates(report: SetReport, there: list[Path], splits_of: dict) -> None:
    groups = duplicates(there, f'{report.name}: looking for duplicates')
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
            report.notes.append(f'{text}: {" = ".join(found[0][:SHOWN])}')

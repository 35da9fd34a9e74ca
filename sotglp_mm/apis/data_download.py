"""Fetch what torchvision hosts, and lay it out as CoOp does."""

import shutil
from pathlib import Path

import torchvision

from ..datasets.coop_split_dataset import find_split_list
from ..datasets.known_sets import COOP, KNOWN_SETS, KnownSet
from .data_checks import locate

IMAGES = {
    'Caltech101': 'caltech101/101_ObjectCategories',
    'OxfordIIITPet': 'oxford-iiit-pet/images',
    'Flowers102': 'flowers-102/jpg',
    'Food101': 'food-101/images',
    'FGVCAircraft': 'fgvc-aircraft-2013b/data/images',
    'SUN397': 'SUN397',
    'DTD': 'dtd/dtd/images',
    'EuroSAT': 'eurosat/2750',
}
"""Where torchvision's classes put the folder of images."""


def download(all_data: Path, name: str) -> str:
    """Fetch the images of a set into CoOp's place.

    Returns:
        str: What was done, and what is still to be done.

    Raises:
        ValueError: torchvision does not host it.
        FileExistsError: It is there already, or a file would be overwritten.
        OSError: The download failed.
    """
    known = KNOWN_SETS[name]
    if not known.torchvision:
        hosted = [each for each in KNOWN_SETS.values() if each.torchvision]
        for twin in hosted:
            if (twin.folder, twin.images) == (known.folder, known.images):
                raise ValueError(
                    f'{name} is the images of {twin.name}: use --download {twin.name}'
                )
        text = f'torchvision does not host {name}; get it at {known.source}'
        raise ValueError(f'{text}. Hosted are: {", ".join(each.name for each in hosted)}')
    there = locate(all_data, known).images
    if there.is_dir():
        raise FileExistsError(f'{there} exists already and is left as it is; remove it first')
    fetched = all_data / f'.download-{name}'
    _fetch(known, fetched)
    _move(all_data, known, fetched)
    return _what_is_left(all_data, known, fetched)


def _fetch(known: KnownSet, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        getattr(torchvision.datasets, known.torchvision)(root=str(folder), download=True)
    except (OSError, RuntimeError) as error:  # no network; a checksum that does not fit
        raise OSError(
            f'torchvision could not fetch {known.name} ({type(error).__name__}: {error}); run it '
            f'again, or fetch it from {known.source} yourself. What came is in {folder}'
        ) from error


def _move(all_data: Path, known: KnownSet, fetched: Path) -> None:
    images = fetched / IMAGES[known.torchvision]
    if not images.is_dir():
        raise OSError(
            f'torchvision {torchvision.__version__} fetched {known.name}, but not into {images}; '
            f'move the images from {fetched} to {all_data / known.folder / known.images}'
        )
    folder = all_data / known.folder
    moves = [(images, folder / known.images)]
    if known.name == 'fgvc_aircraft':  # its lists are part of the archive
        moves += [(file, folder / file.name) for file in sorted(images.parent.glob('*.txt'))]
    for _, target in moves:
        if target.exists():
            raise FileExistsError(f'{target} exists already; nothing was moved. Remove it first')
    for source, target in moves:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)


def _what_is_left(all_data: Path, known: KnownSet, fetched: Path) -> str:
    folder = all_data / known.folder
    lines = [f'{known.name}: images are in {folder / known.images}']
    if known.split_file:
        try:
            find_split_list(known.split_file, folder)
        except FileNotFoundError:
            lines.append(f'still missing: {folder / known.split_file}, from {COOP}')
    lines.append(f'{fetched} holds what is left of the download, and can be removed')
    lines.append(f'check it: sotglp data {all_data} --sets {known.name}')
    return '\n'.join(lines)

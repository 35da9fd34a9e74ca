"""Is the data complete, readable, and in the layout that the configs expect?"""

import json as json_module
import shutil
from collections.abc import Iterable
from pathlib import Path

import torchvision

from ..datasets.coop_datasets import find_split_list
from ..datasets.known_sets import COOP, KNOWN_SETS
from ..io.files import check_writable, write_atomically
from ..io.json_file import read_json
from .data_checks import SetReport, check_own_images, check_set, locate, plural

DOWNLOADED_TO = {
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


def check_data(
    data_root: str | Path,
    *,
    sets: Iterable[str] | None = None,
    own: bool = False,
    no_decode: bool = False,
    no_duplicates: bool = False,
    expected: str | Path | None = None,
    json: str | Path | None = None,
    download: str | None = None,
) -> bool:
    """Check or download, as ``sotglp data`` does with flags of these names.

    Returns:
        bool: Whether everything is ok. Duplicates are notes: published sets have some.

    Raises:
        OSError: A file cannot be read or written, or the download failed.
        ValueError: A set is not known, or not hosted; own images or a file cannot be used.
    """
    data_root = Path(data_root).expanduser()
    names = list(sets or KNOWN_SETS)
    unknown = [name for name in [*names, *filter(None, [download])] if name not in KNOWN_SETS]
    if unknown:
        raise ValueError(f'there is no set {unknown[0]!r}; known are {", ".join(KNOWN_SETS)}')
    if download:
        print(fetch(data_root, download))
        return True
    if not own and not data_root.is_dir():
        raise FileNotFoundError(f'{data_root} is no folder; expected the folder of all data')
    if json is not None:
        check_writable(json, '--json')  # now, not after hours of decoding
    numbers = _read_expected(Path(expected) if expected else None)
    look = not no_decode, not no_duplicates
    reports = []
    for name in ['own images'] if own else names:
        if own:
            reports.append(check_own_images(data_root, *look))
        else:
            reports.append(check_set(data_root, KNOWN_SETS[name], numbers[name], *look))
        print(reports[-1], flush=True)
    print(_closing_line(reports, named=bool(sets)))
    all_ok = all(report.status == 'ok' for report in reports)
    if json is not None:
        of_sets = {report.name: report.as_json() for report in reports}
        found = dict(data_root=str(data_root), ok=all_ok, sets=of_sets)
        text = json_module.dumps(found, indent=2) + '\n'
        write_atomically(json, text, 'Choose another file for --json')
    return all_ok


def _closing_line(reports: list[SetReport], named: bool) -> str:
    by_status: dict[str, list[str]] = {}
    for report in reports:
        by_status.setdefault(report.status, []).append(report.name)
    text = f'{len(by_status.pop("ok", []))} of {plural(len(reports), "set")} ok'
    text += ''.join(f'; {status}: {", ".join(names)}' for status, names in by_status.items())
    hint = 'absent' in by_status and not named
    return f'{text}.{" Name the sets that you need with --sets." if hint else ""}'


def _read_expected(file: Path | None) -> dict[str, dict]:
    """Numbers to compare with, for every known set."""
    expected = {
        name: dict(num_classes=known.num_classes, counts=known.counts)
        for name, known in KNOWN_SETS.items()
    }
    given = read_json(file, '--expected') if file else {}
    for name, numbers in given.items() if isinstance(given, dict) else [('', given)]:
        try:
            usable = name in expected and set(numbers) == {'num_classes', 'counts'}
            counts = [numbers['num_classes'], *numbers['counts'].values()] if usable else []
            usable = usable and all(type(count) is int for count in counts)
        except (TypeError, AttributeError):
            usable = False
        if not usable:
            raise ValueError(
                f'--expected {file}: {name!r}: {numbers!r}; expected {{NAME: {{"num_classes": C, '
                f'"counts": {{SPLIT: IMAGES}}}}}} with NAME of {", ".join(expected)}'
            )
        expected[name] = numbers
    return expected


def fetch(all_data: Path, name: str) -> str:
    """Download the images of a set that torchvision hosts, into CoOp's place.

    Returns:
        str: What was done, and what is still to be done.
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
    fetched.mkdir(parents=True, exist_ok=True)
    try:
        getattr(torchvision.datasets, known.torchvision)(root=str(fetched), download=True)
    except (OSError, RuntimeError) as error:  # no network; a checksum that does not fit
        raise OSError(
            f'torchvision could not fetch {name} ({type(error).__name__}: {error}); run it '
            f'again, or fetch it from {known.source} yourself. What came is in {fetched}'
        ) from error
    folder, images = all_data / known.folder, fetched / DOWNLOADED_TO[known.torchvision]
    if not images.is_dir():
        raise OSError(
            f'torchvision {torchvision.__version__} fetched {name}, but not into {images}; '
            f'move the images from {fetched} to {folder / known.images}'
        )
    moves = {images: folder / known.images}
    if name == 'fgvc_aircraft':  # its lists are part of the archive
        moves |= {file: folder / file.name for file in sorted(images.parent.glob('*.txt'))}
    _move(moves)
    lines = [f'{name}: images are in {folder / known.images}']
    if known.split_file:
        try:
            find_split_list(known.split_file, folder)
        except FileNotFoundError:
            lines.append(f'still missing: {folder / known.split_file}, from {COOP}')
    lines.append(f'{fetched} holds what is left of the download, and can be removed')
    lines.append(f'check it: sotglp data {all_data} --sets {name}')
    return '\n'.join(lines)


def _move(moves: dict[Path, Path]) -> None:
    for target in moves.values():
        if target.exists():
            raise FileExistsError(f'{target} exists already; nothing was moved. Remove it first')
    for source, target in moves.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)

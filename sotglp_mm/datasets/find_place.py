"""Where a set of the benchmark really lies: in CoOp's place, or in another in circulation."""

from pathlib import Path
from typing import NamedTuple

from mmengine.logging import print_log

from ..io.image_files import IMAGE_SUFFIXES
from .known_sets import KNOWN_SETS


class Place(NamedTuple):
    """Where a set was found."""

    folder: Path
    """Folder of the set."""

    images: Path
    """Folder of its images, ``folder`` itself or below it."""


def find_place(data_root: Path, images: str, subfolder: str = '') -> Place:
    """Where a set really lies: there, or in another place that is in circulation.

    Args:
        data_root: Folder of the set, as configs write it: in CoOp's layout.
        images: Folder of the images below it.
        subfolder: What must exist below the images, e.g. 'val'. Defaults to nothing.

    Returns:
        Place: The first that exists; else what was asked for, which does not.
    """
    asked = Place(data_root, data_root / images)
    if _holds_data(asked.images / subfolder):
        return asked
    for known in KNOWN_SETS.values():
        folder = Path(known.folder)
        if known.images != images or data_root.parts[-len(folder.parts) :] != folder.parts:
            continue
        all_data = Path(*data_root.parts[: -len(folder.parts)])
        for other_folder, other_images in known.places:
            found = Place(all_data / other_folder, all_data / other_folder / other_images)
            if _holds_data(found.images / subfolder):
                print_log(f'{asked.images} does not exist; using {found.images}', logger='current')
                return found
    return asked


def _holds_data(folder: Path) -> bool:
    """A folder with a split file alone is no place of images."""
    if not folder.is_dir():
        return False
    return any(p.is_dir() or p.suffix.lower() in IMAGE_SUFFIXES for p in folder.iterdir())

"""The benchmark's sets: what they hold, where they lie on disk, where they are to be had.

Configs name places in CoOp's layout. Where nothing lies there, the other places that are in
circulation are looked at.
"""

import json
from pathlib import Path
from typing import NamedTuple

from mmengine.logging import print_log

from ..io.image_files import IMAGE_SUFFIXES

COOP = 'https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md'
"""Where the split files, and CoOp's own instructions, are to be had."""

GATHERED_IN = {'few_shot': 'dataset_suite', 'shift': 'domains', 'ood': 'ood_data'}
"""A folder that some keep all sets of one kind in; within it, all places are looked at again."""


class KnownSet(NamedTuple):
    """One of the benchmark's sets; all places are below the folder of all data ($DATA)."""

    name: str  # e.g. 'dtd': part of the config's name, and of results
    kind: str  # 'few_shot', 'shift' (ImageNet's classes in another style) or 'ood' (no labels)
    folder: str  # of the set in CoOp's layout
    images: str  # folder of the images below ``folder``
    split_file: str  # CoOp's, in ``folder``; '' where the set has none
    num_classes: int  # 0 for 'ood'
    counts: dict[str, int]  # images of each split that runs use
    source: str  # where the images are to be had
    other_places: tuple[tuple[str, str], ...] = ()  # (folder, images) in circulation
    torchvision: str = ''  # the class of ``torchvision.datasets`` that downloads it

    @property
    def places(self) -> list[tuple[str, str]]:
        """Every (folder, images) to look at, below the folder of all data; CoOp's first."""
        here = [(self.folder, self.images), *self.other_places]
        gathered = GATHERED_IN[self.kind]
        return [*here, *((f'{gathered}/{folder}', images) for folder, images in here)]


KNOWN_SETS: dict[str, KnownSet] = {
    fields['name']: KnownSet(**fields)
    for fields in json.loads(Path(__file__).with_suffix('.json').read_text(encoding='utf-8'))
}
"""The 11 few-shot sets, 4 domain shifts and 4 OOD sets, by name."""


class Place(NamedTuple):
    """Where a set was found."""

    folder: Path
    images: Path  # ``folder`` itself or below it


def find_place(data_root: Path, images: str, subfolder: str = '', quiet: bool = False) -> Place:
    """Where a set really lies: there, or in another place that is in circulation.

    ``data_root`` and ``images`` below it are as configs write them, in CoOp's layout;
    ``subfolder``, e.g. 'val', must exist below the images. Where nothing is, it is what was asked.
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
                text = f'{asked.images} does not exist; using {found.images}'
                print_log(text, logger='silent' if quiet else 'current')
                return found
    return asked


def _holds_data(folder: Path) -> bool:
    """A folder with a split file alone is no place of images."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return any(p.is_dir() or p.suffix.lower() in IMAGE_SUFFIXES for p in inside)

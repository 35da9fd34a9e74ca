"""The benchmark's sets: what they hold, where they lie on disk, where they are to be had.

Configs name places in CoOp's layout. Where nothing lies there, the other places that are in
circulation are looked at (``find_place.py``).
"""

import json
from pathlib import Path
from typing import NamedTuple


class KnownSet(NamedTuple):
    """One of the benchmark's sets; all places are below the folder of all data ($DATA)."""

    name: str
    """E.g. 'dtd': part of the config's name, and of results."""

    kind: str
    """'few_shot', 'shift' (ImageNet's classes in another style) or 'ood' (no labels)."""

    folder: str
    """Folder of the set in CoOp's layout."""

    images: str
    """Folder of the images below ``folder``."""

    split_file: str
    """CoOp's split file in ``folder``; '' where the set has none."""

    num_classes: int
    """0 for 'ood'."""

    counts: dict[str, int]
    """Images of each split that runs use."""

    source: str
    """Where the images are to be had."""

    other_places: tuple[tuple[str, str], ...] = ()
    """Other (folder, images) that are in circulation."""

    torchvision: str = ''
    """Name of the class of ``torchvision.datasets`` that downloads it."""

    @property
    def places(self) -> list[tuple[str, str]]:
        """Every (folder, images) to look at, below the folder of all data; CoOp's first."""
        here = [(self.folder, self.images), *self.other_places]
        gathered = GATHERED_IN[self.kind]
        return [*here, *((f'{gathered}/{folder}', images) for folder, images in here)]


GATHERED_IN = {'few_shot': 'dataset_suite', 'shift': 'domains', 'ood': 'ood_data'}
"""A folder that some keep all sets of one kind in; within it, all places are looked at again."""


COOP = 'https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md'
"""Where the split files, and CoOp's own instructions, are to be had."""

_FILE = Path(__file__).with_suffix('.json')


def _read(fields: dict) -> KnownSet:
    places = tuple((folder, images) for folder, images in fields['other_places'])
    return KnownSet(**{**fields, 'other_places': places})


KNOWN_SETS: dict[str, KnownSet] = {
    fields['name']: _read(fields) for fields in json.loads(_FILE.read_text(encoding='utf-8'))
}
"""The 11 few-shot sets, 4 domain shifts and 4 OOD sets, by name."""

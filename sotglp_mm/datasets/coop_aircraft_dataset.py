"""FGVC-Aircraft, which brings its own lists."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmpretrain.registry import DATASETS

from ..io.files import read_lines
from ..utils.settings import check_choice, checked_settings
from .known_sets import find_place
from .listed_images import ListedImagesDataset

LISTS = {
    **{split: (split,) for split in ('train', 'val', 'test')},
    'trainval': ('train', 'val'),
    'trainval_file': ('trainval',),
}


@DATASETS.register_module()
@checked_settings
class CoOpAircraftDataset(ListedImagesDataset):
    """FGVC-Aircraft by variant, with its own ``images_variant_{train,val,test}.txt``.

    A label is the rank of the variant in ``variants.txt``.

    Args:
        data_root (str): Folder of the lists, e.g. ``$DATA/fgvc_aircraft``.
        split (str): 'train', 'val', 'test', or 'trainval' for the first two together, which the
            released SOT-GLP program trains on; 'trainval_file' is the same images in the order of
            ``images_variant_trainval.txt``, from which that program draws. Defaults to 'train'.
        data_prefix (str): Folder of the images below ``data_root``. Defaults to 'images'.
        **kwargs: As in MMPretrain's ``BaseDataset``.
    """

    def __init__(
        self, data_root: str, split: str = 'train', data_prefix: str = 'images', **kwargs: Any
    ) -> None:
        check_choice('CoOpAircraftDataset', 'split', split, LISTS)
        place = find_place(Path(data_root).expanduser(), data_prefix)
        rows_of, variants = read_aircraft_lists(place.folder, LISTS[split])
        super().__init__(
            rows=[row for rows in rows_of.values() for row in rows],
            classes=variants,
            folder=place.images,
            source=' and '.join(map(str, rows_of)),
            data_root=str(place.folder),
            **{'test_mode': 'train' not in split, **kwargs},
        )


def read_aircraft_lists(
    folder: Path, parts: Iterable[str]
) -> tuple[dict[Path, list[list]], list[str]]:
    """By file, the rows ``[image, label, variant]`` of some lists; and the variants by label."""
    file = folder / 'variants.txt'
    variants = _lines(file)
    twice = next((name for name in variants if variants.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'{file} names {twice!r} twice; a label is the rank of a variant in it')
    label_of = {name: label for label, name in enumerate(variants)}
    files = [folder / f'images_variant_{part}.txt' for part in parts]
    return {file: _rows(file, label_of) for file in files}, variants


def _rows(file: Path, label_of: dict[str, int]) -> list[list]:
    rows = []
    for number, line in enumerate(_lines(file), start=1):
        image, _, name = line.partition(' ')
        if name not in label_of:
            raise ValueError(
                f'{file}, line {number}: {line!r}; expected "<image number> <variant>", with one '
                f'of the {len(label_of)} variants of variants.txt'
            )
        rows.append([f'{image}.jpg', label_of[name], name])
    return rows


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise FileNotFoundError(
            f'{file} does not exist; expected the layout of CoOp: images/, variants.txt and '
            'images_variant_{train,val,test}.txt in data_root. Set data_root in the config.'
        )
    return read_lines(file)

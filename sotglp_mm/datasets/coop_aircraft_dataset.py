"""FGVC-Aircraft, which brings its own lists."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpretrain.registry import DATASETS

from ..io.text_file import read_lines
from ..utils.settings import checked_settings
from .find_place import find_place
from .listed_images import ListedImagesDataset

SPLITS = ('train', 'val', 'test', 'trainval', 'trainval_file')


@DATASETS.register_module()
@checked_settings
class CoOpAircraftDataset(ListedImagesDataset):
    """FGVC-Aircraft by variant, with its own ``images_variant_{train,val,test}.txt``.

    A label is the rank of the variant in ``variants.txt``.

    Args:
        data_root (str): E.g. ``$DATA/fgvc_aircraft``.
        split (str): 'train', 'val', 'test', or 'trainval' for the first two together, which the
            released SOT-GLP program trains on; 'trainval_file' is the same images in the order of
            ``images_variant_trainval.txt``, from which that program draws. Defaults to 'train'.
        data_prefix (str): Folder of the images below ``data_root``. Defaults to 'images'.
        pipeline (Sequence): Transforms. Defaults to none.
        **kwargs: As in MMPretrain's ``BaseDataset``.

    Raises:
        FileNotFoundError: A list or an image does not exist.
        ValueError: Unknown split, a line that is not ``<image> <variant>``, or a variant twice.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        data_prefix: str = 'images',
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(
                f'CoOpAircraftDataset: split={split!r} is not known; choose one of {SPLITS}'
            )
        place = find_place(Path(data_root).expanduser(), data_prefix)
        variants = _variants(place.folder / 'variants.txt')
        files = [place.folder / f'images_variant_{part}.txt' for part in _parts(split)]
        kwargs.setdefault('test_mode', 'train' not in split)
        super().__init__(
            rows=[row for file in files for row in _rows(file, variants)],
            classes=variants,
            folder=place.images,
            source=' and '.join(map(str, files)),
            data_root=str(place.folder),
            pipeline=pipeline,
            **kwargs,
        )


def _parts(split: str) -> tuple[str, ...]:
    return {'trainval': ('train', 'val'), 'trainval_file': ('trainval',)}.get(split, (split,))


def _variants(file: Path) -> list[str]:
    names = _lines(file)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'{file} names {twice!r} twice; a label is the rank of a variant in it')
    return names


def _rows(file: Path, variants: list[str]) -> list[list]:
    label_of = {name: label for label, name in enumerate(variants)}
    rows = []
    for number, line in enumerate(_lines(file), start=1):
        image, _, name = line.partition(' ')
        if name not in label_of:
            raise ValueError(
                f'{file}, line {number}: {line!r}; expected "<image number> <variant>", with one '
                f'of the {len(variants)} variants of variants.txt'
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

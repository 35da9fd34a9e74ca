"""The field's standard few-shot data: images, and one list of the train, val and test images."""

import json
import lzma
import posixpath
from pathlib import Path
from typing import Any

from mmpretrain.registry import DATASETS

from ..class_names.resolve import class_names_of_split
from ..io.json_file import read_json
from ..utils.settings import checked_settings
from .known_sets import COOP, find_place
from .listed_images import ListedImagesDataset, check_inside

PACKAGED = Path(__file__).parent / 'splits'
"""Seven lists of CoOp, compressed; those of Food101 and SUN397 have to be fetched."""


@DATASETS.register_module()
@checked_settings
class CoOpSplitDataset(ListedImagesDataset):
    """Images in CoOp's layout, with its fixed split list.

    Labels and class names are those of the list:
    ``{"train" | "val" | "test": [[relative path, label, class name], ...]}``. A list beside the
    images goes first; seven of CoOp's come with the package (see ``datasets/splits/``). Where a
    set of the benchmark lies in another place that is in circulation, it is found there.

    Args:
        data_root (str): Folder of the dataset, e.g. ``$DATA/dtd``.
        split_file (str): Below ``data_root``, e.g. ``split_zhou_DescribableTextures.json``.
        split (str): 'train', 'val' or 'test'. Defaults to 'train'.
        data_prefix (str): Folder of the images below ``data_root``. Defaults to 'images'.
        **kwargs: As in MMPretrain's ``BaseDataset``.

    Raises:
        ValueError: The list has an image in training and elsewhere, or with two labels.
    """

    def __init__(
        self,
        data_root: str,
        split_file: str,
        split: str = 'train',
        data_prefix: str = 'images',
        **kwargs: Any,
    ) -> None:
        self.split = split
        root = Path(data_root).expanduser()
        place = find_place(root, data_prefix)
        if not place.folder.is_dir():
            raise FileNotFoundError(
                f'data_root {root} does not exist; expected a folder with the images in '
                f'{data_prefix}/ (the layout of CoOp). Set data_root in the config.'
            )
        path = find_split_list(split_file, place.folder, root)
        splits, classes = read_split_list(path)
        check_images_once(splits, path)
        if split not in splits:
            raise ValueError(f'{path} has no split {split!r}; it has {sorted(splits)}')
        super().__init__(
            rows=splits[split],
            classes=classes,
            folder=place.images,
            source=f'split {split!r} of {path}',
            data_root=str(place.folder),
            **{'test_mode': split != 'train', **kwargs},
        )


def find_split_list(split_file: str, *folders: Path) -> Path:
    """The first of the folders' files that exists, or the package's own of that name."""
    candidates = [folder / split_file for folder in folders]
    for path in [*candidates, PACKAGED / f'{Path(split_file).name}.xz']:
        if path.is_file():
            return path
    packaged = ', '.join(sorted(path.stem for path in PACKAGED.glob('*.xz')))
    raise FileNotFoundError(
        f'split file {candidates[0]} does not exist, and is none of those that come '
        f'with the package ({packaged}). {COOP} says where to get it. Put it there, or set '
        'split_file.'
    )


def read_split_list(path: Path) -> tuple[dict[str, list], tuple[str, ...]]:
    """``{split: [[relative path, label, class name], ...]}``, and the class names by label."""
    if path.suffix == '.xz':
        splits = json.loads(lzma.decompress(path.read_bytes()))
    else:
        splits = read_json(path, 'split file')
    classes = class_names_of_split(splits, path)
    for rows in splits.values():
        check_inside(rows, f'split file {path}')
    return splits, classes


def check_images_once(splits: dict[str, list], path: Path) -> None:
    """Refuse a list that has an image in training and elsewhere, or with two labels."""
    seen: dict[str, tuple[str, str]] = {}
    for split, rows in splits.items():
        for file, _, name in rows:
            first = seen.setdefault(posixpath.normpath(file), (split, name))
            splits_differ = split != first[0] and 'train' in (split, first[0])
            if splits_differ or name != first[1]:
                raise ValueError(
                    f'{path} has {file} in {first[0]!r} as {first[1]!r} and in {split!r} as '
                    f'{name!r}; an image of train belongs to no other split, and has one class'
                )

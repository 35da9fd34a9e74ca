"""The field's standard few-shot data: images, and one JSON with the train, val and test lists."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmpretrain.registry import DATASETS

from ..class_names.resolve import class_names_of_split
from ..io.json_file import read_json
from ..utils.settings import checked_settings
from .class_of_image import labelled_images
from .find_place import Place, find_place
from .known_sets import COOP, KNOWN_SETS
from .listed_images import ListedImagesDataset, check_inside
from .own_split import FILE_NAME, kept_split


@DATASETS.register_module()
@checked_settings
class CoOpSplitDataset(ListedImagesDataset):
    """Images in CoOp's layout, with its fixed split file.

    Labels and class names are those of the split file:
    ``{"train" | "val" | "test": [[relative path, label, class name], ...]}``.

    Where a set of the benchmark lies in another place that is in circulation
    (``eurosat/2750`` in ``EuroSAT_RGB``, say), it is found there. Where its split file is absent,
    the images are split 50/20/30 by a seed, with a warning: numbers are then not comparable with
    anyone's. That split is written beside the data, under another name.

    Args:
        data_root (str): Folder of the dataset, e.g. ``$DATA/dtd``.
        split_file (str): Below ``data_root``, e.g. ``split_zhou_DescribableTextures.json``.
        split (str): 'train', 'val' or 'test'. Defaults to 'train'.
        data_prefix (str): Folder of the images below ``data_root``. Defaults to 'images'.
        pipeline (Sequence): Transforms. Defaults to none.
        **kwargs: As in MMPretrain's ``BaseDataset``.

    Raises:
        FileNotFoundError: Data root, split file (of a set that the package does not know) or an
            image does not exist.
        ValueError: The split file is not of this form, or lacks the split.
    """

    def __init__(
        self,
        data_root: str,
        split_file: str,
        split: str = 'train',
        data_prefix: str = 'images',
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        self.split = split
        root = Path(data_root).expanduser()
        place = find_place(root, data_prefix)
        path, splits, classes = _read_splits(place, root, split_file, data_prefix)
        if split not in splits:
            raise ValueError(f'{path} has no split {split!r}; it has {sorted(splits)}')
        kwargs.setdefault('test_mode', split != 'train')
        super().__init__(
            rows=splits[split],
            classes=classes,
            folder=place.images,
            source=f'split {split!r} of {path}',
            data_root=str(place.folder),
            pipeline=pipeline,
            **kwargs,
        )


def _read_splits(
    place: Place, root: Path, split_file: str, data_prefix: str
) -> tuple[Path, dict[str, list], tuple[str, ...]]:
    """The file that was read, its splits, and the class names."""
    if not place.folder.is_dir():
        raise FileNotFoundError(
            f'data_root {root} does not exist; expected a folder with {split_file} and '
            f'the images in {data_prefix}/ (the layout of CoOp). Set data_root in the config.'
        )
    candidates = [place.folder / split_file, root / split_file]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return _split_of_our_own(place, split_file)
    splits = read_json(path, 'split file')
    classes = class_names_of_split(splits, path)
    for rows in splits.values():
        check_inside(rows, f'split file {path}')
    return path, splits, classes


def _split_of_our_own(
    place: Place, split_file: str
) -> tuple[Path, dict[str, list], tuple[str, ...]]:
    known = next((k for k in KNOWN_SETS.values() if k.split_file == split_file), None)
    if known is None or not place.images.is_dir():
        raise FileNotFoundError(
            f'split file {place.folder / split_file} does not exist; it belongs to the layout of '
            f'CoOp, and {COOP} says where to get it. Put it there, or set split_file.'
        )
    labelled, classes = labelled_images(known, place)
    path = place.folder / FILE_NAME
    splits = kept_split(path, labelled, classes)
    print_log(
        f'{split_file} is not in {place.folder}: {len(labelled)} images are split 50/20/30 by our '
        f"own seed, see {path}. NUMBERS ARE NOT COMPARABLE with anyone's. {COOP} says where to "
        'get the split that everyone uses.',
        logger='current',
        level=logging.WARNING,
    )
    return path, splits, tuple(classes)

"""The field's standard few-shot data: images, and one list of the train, val and test images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpretrain.registry import DATASETS

from ..utils.settings import checked_settings
from .find_place import find_place
from .listed_images import ListedImagesDataset
from .split_lists import find_split_list, read_split_list


@DATASETS.register_module()
@checked_settings
class CoOpSplitDataset(ListedImagesDataset):
    """Images in CoOp's layout, with its fixed split list.

    Labels and class names are those of the list:
    ``{"train" | "val" | "test": [[relative path, label, class name], ...]}``. A list beside the
    images goes first; seven of CoOp's come with the package (see ``datasets/splits/``).

    Where a set of the benchmark lies in another place that is in circulation
    (``eurosat/2750`` in ``EuroSAT_RGB``, say), it is found there.

    Args:
        data_root (str): Folder of the dataset, e.g. ``$DATA/dtd``.
        split_file (str): Below ``data_root``, e.g. ``split_zhou_DescribableTextures.json``.
        split (str): 'train', 'val' or 'test'. Defaults to 'train'.
        data_prefix (str): Folder of the images below ``data_root``. Defaults to 'images'.
        pipeline (Sequence): Transforms. Defaults to none.
        **kwargs: As in MMPretrain's ``BaseDataset``.

    Raises:
        FileNotFoundError: Data root, split list or an image does not exist.
        ValueError: The list is not of this form, or lacks the split.
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
        if not place.folder.is_dir():
            raise FileNotFoundError(
                f'data_root {root} does not exist; expected a folder with the images in '
                f'{data_prefix}/ (the layout of CoOp). Set data_root in the config.'
            )
        path = find_split_list(split_file, place.folder, root)
        splits, classes = read_split_list(path)
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

"""Images and labels that stand in a list, which most datasets here are; images without labels."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from ..io.image_files import image_files
from ..utils.settings import checked_settings
from .known_sets import find_place


class ListedImagesDataset(BaseDataset):
    """Images of a list of ``[relative path, label, class name]``; a base class.

    Args:
        rows: The list; other splits' rows are not in it.
        classes: Class names in label order.
        folder: What the paths are relative to.
        source: Where the list came from, for messages.
        metainfo (dict, optional): Goes into the dataset's, beside ``classes``.
        **kwargs: As in MMPretrain's ``BaseDataset``.
    """

    def __init__(
        self,
        rows: Sequence[Sequence],
        classes: Sequence[str],
        folder: Path,
        source: str,
        metainfo: dict | None = None,
        **kwargs: Any,
    ) -> None:
        self._rows, self._folder, self._source = rows, Path(folder), source
        self.images_root = str(folder)
        metainfo = {'classes': tuple(classes), **(metainfo or {})}
        super().__init__(ann_file='', metainfo=metainfo, data_prefix='', **kwargs)

    def load_data_list(self) -> list[dict]:
        check_inside(self._rows, self._source)
        if not self._rows:
            raise ValueError(f'{self._source} names no image; at least one is needed')
        folder = self._folder
        found = [dict(img_path=str(folder / row[0]), gt_label=row[1]) for row in self._rows]
        missing = [info['img_path'] for info in found if not os.path.isfile(info['img_path'])]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of {len(found)} images of {self._source} are missing, the first '
                f'is {missing[0]}. Images are expected below {folder}; set data_root and '
                'data_prefix, or complete the download.'
            )
        return found


@DATASETS.register_module()
@checked_settings
class UnlabelledImagesDataset(BaseDataset):
    """All images below a folder, without labels: an out-of-distribution set.

    Args:
        data_root (str): E.g. ``$DATA/iNaturalist``.
        data_prefix (str): Folder of the images below it. Defaults to 'images'.
        **kwargs: As in MMPretrain's ``BaseDataset``.
    """

    def __init__(self, data_root: str, data_prefix: str = 'images', **kwargs: Any) -> None:
        place = find_place(Path(data_root).expanduser(), data_prefix)
        self._images = place.images
        self.images_root = str(place.images)
        kwargs = {'test_mode': True, **kwargs}
        super().__init__(ann_file='', data_root=str(place.folder), data_prefix='', **kwargs)

    def load_data_list(self) -> list[dict]:
        found = image_files(self._images) if self._images.is_dir() else []
        if not found:
            raise FileNotFoundError(
                f'{self._images} does not exist, or has no images; set data_root and data_prefix '
                'in the config'
            )
        return [dict(img_path=str(self._images / path)) for path in found]

    def get_cat_ids(self, index: int) -> list[int]:
        return []


def check_inside(rows: Sequence[Sequence], source: str) -> None:
    """Refuse a list that names a path outside of its folder."""
    for path, *_ in rows:
        if os.path.isabs(path) or '..' in path.split('/'):  # no Path for each: lists are long
            raise ValueError(f'{source} names {path!r}; expected a path below the images')

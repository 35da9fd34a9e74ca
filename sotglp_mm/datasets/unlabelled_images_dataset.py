"""Images of no known class, to be told from those of known ones."""

from pathlib import Path
from typing import Any

from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from ..io.image_files import image_files
from ..utils.settings import checked_settings
from .known_sets import find_place


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

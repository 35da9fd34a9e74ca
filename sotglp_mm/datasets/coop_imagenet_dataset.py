"""ImageNet in CoOp's layout, with CLIP's class names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS
from timm.data import ImageNetInfo

from ..class_names.resolve import resolve_class_names
from ..utils.settings import checked_settings
from .known_sets import find_place


@DATASETS.register_module()
@checked_settings
class CoOpImageNetDataset(CustomDataset):
    """ImageNet-1k as ``data_root/images/{train,val}/<WordNet id>/*.JPEG``.

    A label is the rank of its WordNet id among the 1000 folders, never a class name: two pairs of
    classes share a name.

    Args:
        data_root (str): E.g. ``$DATA/imagenet``.
        split (str): 'train' or 'val'. Defaults to 'train'.
        class_names (str | Sequence[str]): See :func:`resolve_class_names`. Defaults to
            'imagenet', CLIP's names.
        **kwargs: As in MMPretrain's ``CustomDataset``.

    Raises:
        ValueError: There are not as many folders as class names, or, with 'imagenet', other
            folders than ImageNet-1k's.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        class_names: str | Sequence[str] = 'imagenet',
        **kwargs: Any,
    ) -> None:
        place = find_place(Path(data_root).expanduser(), 'images', split)
        folder = place.images / split
        if not folder.is_dir():
            raise FileNotFoundError(
                f'{folder} does not exist; expected the layout of CoOp, '
                f'{folder}/<WordNet id>/<image>. Set data_root in the config.'
            )
        names = resolve_class_names(class_names)
        wnids = [entry.name for entry in sorted(folder.iterdir()) if entry.is_dir()]
        wnids = [name for name in wnids if not name.startswith('.')]  # as CustomDataset
        if len(wnids) != len(names):
            raise ValueError(
                f'{folder} has {len(wnids)} class folders; expected {len(names)}, one for each '
                'class name'
            )
        # one folder with another name would move the labels of all behind it
        expected = ImageNetInfo().label_names() if class_names == 'imagenet' else wnids
        if strange := sorted(set(wnids) - set(expected)):
            missing = min(set(expected) - set(wnids))
            raise ValueError(
                f'{folder / strange[0]} is no class of ImageNet-1k; expected a folder {missing}. '
                'Rename or remove it, or give class_names of your own'
            )
        self.images_root = str(place.images)
        metainfo = {'classes': names, 'wnids': wnids, **kwargs.pop('metainfo', {})}
        super().__init__(
            data_root=str(place.folder),
            data_prefix=str(folder.relative_to(place.folder)),
            metainfo=metainfo,
            **{'test_mode': split != 'train', **kwargs},
        )

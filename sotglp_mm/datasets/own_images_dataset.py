"""A user's own images: a folder for each class, or one file of paths and labels."""

from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from mmpretrain.registry import DATASETS

from ..io.own_images import SPLITS, read_own_images
from ..utils.settings import checked_settings
from .listed_images import ListedImagesDataset
from .own_split import FILE_NAME, kept_split


@DATASETS.register_module()
@checked_settings
class OwnImagesDataset(ListedImagesDataset):
    """Images as a user has them; see :func:`read_own_images` for the forms.

    Where neither folders nor file say what is for training and what for testing, the images are
    split 50/20/30 by a seed; the split is written beside them, and used from then on.

    Args:
        data_root (str): The folder, or the file.
        split (str): 'train', 'val' or 'test'. Defaults to 'train'.
        pipeline (Sequence): Transforms. Defaults to none.
        **kwargs: As in MMPretrain's ``BaseDataset``.

    Raises:
        FileNotFoundError: Folder, file or an image does not exist.
        ValueError: What :func:`read_own_images` refuses, an unknown or absent split, or a kept
            split that does not fit the images any more.
    """

    def __init__(
        self, data_root: str, split: str = 'train', pipeline: Sequence = (), **kwargs: Any
    ) -> None:
        if split not in SPLITS:
            raise ValueError(
                f'OwnImagesDataset: split={split!r} is not known; choose one of {SPLITS}'
            )
        own = read_own_images(data_root)
        for note in own.notes:
            print_log(f'{own.source}: {note}', logger='current')
        splits = own.splits
        if splits is None:
            prefix = '' if own.source == own.folder else f'{own.source.stem}_'
            file = own.folder / f'{prefix}{FILE_NAME}'
            splits = kept_split(file, own.labelled, own.classes)
        if not splits.get(split):
            raise ValueError(
                f'{own.source} has no images for split {split!r}; it has '
                f'{sorted(name for name, rows in splits.items() if rows)}'
            )
        kwargs.setdefault('test_mode', split != 'train')
        super().__init__(
            rows=splits[split],
            classes=own.classes,
            folder=own.folder,
            source=f'split {split!r} of {own.source}',
            data_root=str(own.folder),
            pipeline=pipeline,
            **kwargs,
        )

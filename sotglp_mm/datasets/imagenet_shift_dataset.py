"""ImageNet's classes in another style: ImageNetV2, -Sketch, -A and -R."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpretrain.registry import DATASETS
from timm.data import ImageNetInfo

from ..class_names import resolve_class_names
from ..own_images import image_files
from ..settings import checked_settings
from .find_place import find_place
from .listed_images import ListedImagesDataset


@DATASETS.register_module()
@checked_settings
class ImageNetShiftDataset(ListedImagesDataset):
    """A domain shift of ImageNet: a folder for each class, named by WordNet id or label.

    Labels are ImageNet's, whichever of its classes the set has. Where it lacks some (-A and -R
    have 200), ``metainfo['competing_labels']`` lists those it has, and only these compete in a
    prediction (see :class:`EvaluationSets`).

    Args:
        data_root (str): E.g. ``$DATA/imagenet-sketch``.
        data_prefix (str): Folder of the class folders below it. Defaults to 'images'.
        class_names (str | Sequence[str]): Of all of ImageNet's classes, see
            :func:`resolve_class_names`. Defaults to 'imagenet', CLIP's names.
        pipeline (Sequence): Transforms. Defaults to none.
        **kwargs: As in MMPretrain's ``BaseDataset``.

    Raises:
        FileNotFoundError: There is no such folder, or no class folder in it.
        ValueError: A folder is called like no class.
    """

    def __init__(
        self,
        data_root: str,
        data_prefix: str = 'images',
        class_names: str | Sequence[str] = 'imagenet',
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        root = Path(data_root).expanduser()
        place = find_place(root, data_prefix)
        names = resolve_class_names(class_names)
        labels = _labels_of_folders(place.images, len(names))
        rows = [
            [f'{folder}/{path}', label, names[label]]
            for folder, label in labels.items()
            for path in image_files(place.images / folder)
        ]
        competing = tuple(sorted(set(labels.values())))
        metainfo = {} if len(competing) == len(names) else {'competing_labels': competing}
        kwargs.setdefault('test_mode', True)
        super().__init__(
            rows=rows,
            classes=names,
            folder=place.images,
            source=str(place.images),
            metainfo={**metainfo, **kwargs.pop('metainfo', {})},
            data_root=str(place.folder),
            pipeline=pipeline,
            **kwargs,
        )


def _labels_of_folders(images: Path, num_classes: int) -> dict[str, int]:
    """{name of a class folder: label}, by label."""
    folders = [p.name for p in images.iterdir() if p.is_dir()] if images.is_dir() else []
    folders = [name for name in folders if not name.startswith('.')]
    if not folders:
        raise FileNotFoundError(
            f'{images} does not exist, or has no class folders; expected {images}/<WordNet id or '
            'label>/<image>. Set data_root and data_prefix in the config.'
        )
    known = {wnid: label for label, wnid in enumerate(ImageNetInfo().label_names())}
    known.update({str(label): label for label in range(len(known))})
    for name in folders:
        if known.get(name, num_classes) >= num_classes:
            raise ValueError(
                f'{images / name}: {name!r} is neither a WordNet id of the first {num_classes} '
                'classes of ImageNet nor a label below that; move the folder away'
            )
    return dict(sorted(((name, known[name]) for name in folders), key=lambda item: item[1]))

"""ImageNet's classes in another style: ImageNetV2, -Sketch, -A and -R."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpretrain.registry import DATASETS
from timm.data import ImageNetInfo

from ..class_names.resolve import resolve_class_names
from ..io.image_files import image_files
from ..structures import COMPETING_LABELS
from ..utils.settings import checked_settings
from .known_sets import KNOWN_SETS, KnownSet, find_place
from .listed_images import ListedImagesDataset


@DATASETS.register_module()
@checked_settings
class ImageNetShiftDataset(ListedImagesDataset):
    """A domain shift of ImageNet: a folder for each class, named by WordNet id or label.

    Labels are ImageNet's, whichever of its classes the set has. Where it lacks some (-A and -R
    have 200), ``metainfo['competing_labels']`` lists those it has, and only these compete in a
    prediction. So a set that is not whole would score higher than
    it should, and is an error.

    Args:
        data_root (str): E.g. ``$DATA/imagenet-sketch``.
        data_prefix (str): Folder of the class folders below it. Defaults to 'images'.
        class_names (str | Sequence[str]): Of all of ImageNet's classes, see
            :func:`resolve_class_names`. Defaults to 'imagenet', CLIP's names.
        num_classes (int, optional): How many classes must have an image; for a subset on purpose,
            as many as it has. Defaults to the number of the set whose place this is
            (``known_sets.json``), and in any other place to that of the class folders.
        **kwargs: As in MMPretrain's ``BaseDataset``.

    Raises:
        ValueError: A folder is called like no class or has no image, or another number of classes
            than expected have one.
    """

    def __init__(
        self,
        data_root: str,
        data_prefix: str = 'images',
        class_names: str | Sequence[str] = 'imagenet',
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        place = find_place(Path(data_root).expanduser(), data_prefix)
        names = resolve_class_names(class_names)
        labels = _labels_of_folders(place.images, len(names))
        files = {folder: image_files(place.images / folder) for folder in labels}
        competing = tuple(sorted({labels[folder] for folder in files if files[folder]}))
        _check_whole(place.images, labels, competing, len(names), num_classes)
        rows = [
            [f'{folder}/{path}', label, names[label]]
            for folder, label in labels.items()
            for path in files[folder]
        ]
        metainfo = {} if len(competing) == len(names) else {COMPETING_LABELS: competing}
        self._competing = metainfo.get(COMPETING_LABELS)
        super().__init__(
            rows=rows,
            classes=names,
            folder=place.images,
            source=str(place.images),
            metainfo={**metainfo, **kwargs.pop('metainfo', {})},
            data_root=str(place.folder),
            **{'test_mode': True, **kwargs},
        )

    def prepare_data(self, idx: int) -> Any:
        """As MMEngine's; the classes that compete go with the image, where it is tested alone."""
        item = super().prepare_data(idx)
        samples = item.get('data_samples', ())
        for sample in samples if isinstance(samples, list | tuple) else [samples]:
            if self._competing is not None:
                sample.set_field(self._competing, COMPETING_LABELS, field_type='metainfo')
        return item


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
    return {name: known[name] for name in sorted(folders, key=lambda name: known[name])}


def _check_whole(
    images: Path, labels: dict[str, int], found: tuple[int, ...], of: int, expected: int | None
) -> None:
    """Refuse class folders without an image, and another number of classes than expected."""
    known = _known_shift(images)
    if expected is None:
        expected = known.num_classes if known else len(set(labels.values()))
    # which of ImageNet's classes a set of 200 should have is not known here
    wanted = range(of) if expected == of else labels.values()
    lacking = [label for label in wanted if label not in found]
    if not lacking and len(found) == expected:
        return
    first = ''
    if lacking:  # the folder need not exist, and is named as those that do
        numbered = next(iter(labels)).isdecimal()
        folder = str(lacking[0]) if numbered else ImageNetInfo().label_names()[lacking[0]]
        first = f', the first without is {images / folder}'
    raise ValueError(
        f'{images}: {len(found)} classes have an image, expected {expected}{first}. '
        f'Unpack the archive again{f" ({known.source})" if known else ""}; for a subset on '
        f'purpose, move empty folders away and set num_classes={len(found)} in the config'
    )


def _known_shift(images: Path) -> KnownSet | None:
    """The published set whose place this is."""
    parts = images.absolute().parts
    for known in KNOWN_SETS.values():
        ends = [Path(*place).parts for place in known.places]
        if known.kind == 'shift' and any(parts[-len(end) :] == end for end in ends):
            return known
    return None

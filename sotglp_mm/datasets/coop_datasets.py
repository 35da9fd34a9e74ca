"""Sets in CoOp's layout, the field's standard: split lists, Aircraft, ImageNet and its shifts."""

import json
import lzma
import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS
from timm.data import ImageNetInfo

from ..class_names.resolve import class_names_of_split, resolve_class_names
from ..io.files import read_lines
from ..io.image_files import image_files
from ..io.json_file import read_json
from ..structures import COMPETING_LABELS
from ..utils.settings import check_choice, checked_settings
from .known_sets import COOP, KNOWN_SETS, KnownSet, find_place
from .listed_images import ListedImagesDataset, check_inside

PACKAGED = Path(__file__).parent / 'splits'
"""Seven lists of CoOp, compressed; those of Food101 and SUN397 have to be fetched."""

AIRCRAFT_LISTS = {
    **{split: (split,) for split in ('train', 'val', 'test')},
    'trainval': ('train', 'val'),
    'trainval_file': ('trainval',),
}
"""By ``split``, the files ``images_variant_<name>.txt`` of FGVC-Aircraft."""


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


@DATASETS.register_module()
@checked_settings
class CoOpAircraftDataset(ListedImagesDataset):
    """FGVC-Aircraft by variant, with its own ``images_variant_{train,val,test}.txt``.

    A label is the rank of the variant in ``variants.txt``.

    Args:
        data_root (str): Folder of the lists, e.g. ``$DATA/fgvc_aircraft``.
        split (str): 'train', 'val', 'test', or 'trainval' for the first two together, which the
            released SOT-GLP program trains on; 'trainval_file' is the same images in the order of
            ``images_variant_trainval.txt``, from which that program draws. Defaults to 'train'.
        data_prefix (str): Folder of the images below ``data_root``. Defaults to 'images'.
        **kwargs: As in MMPretrain's ``BaseDataset``.
    """

    def __init__(
        self, data_root: str, split: str = 'train', data_prefix: str = 'images', **kwargs: Any
    ) -> None:
        check_choice('CoOpAircraftDataset', 'split', split, AIRCRAFT_LISTS)
        place = find_place(Path(data_root).expanduser(), data_prefix)
        rows_of, variants = read_aircraft_lists(place.folder, AIRCRAFT_LISTS[split])
        super().__init__(
            rows=[row for rows in rows_of.values() for row in rows],
            classes=variants,
            folder=place.images,
            source=' and '.join(map(str, rows_of)),
            data_root=str(place.folder),
            **{'test_mode': 'train' not in split, **kwargs},
        )


def read_aircraft_lists(
    folder: Path, parts: Iterable[str]
) -> tuple[dict[Path, list[list]], list[str]]:
    """By file, the rows ``[image, label, variant]`` of some lists; and the variants by label."""
    file = folder / 'variants.txt'
    variants = _aircraft_lines(file)
    twice = next((name for name in variants if variants.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'{file} names {twice!r} twice; a label is the rank of a variant in it')
    label_of = {name: label for label, name in enumerate(variants)}
    files = [folder / f'images_variant_{part}.txt' for part in parts]
    return {file: _aircraft_rows(file, label_of) for file in files}, variants


def _aircraft_rows(file: Path, label_of: dict[str, int]) -> list[list]:
    rows = []
    for number, line in enumerate(_aircraft_lines(file), start=1):
        image, _, name = line.partition(' ')
        if name not in label_of:
            raise ValueError(
                f'{file}, line {number}: {line!r}; expected "<image number> <variant>", with one '
                f'of the {len(label_of)} variants of variants.txt'
            )
        rows.append([f'{image}.jpg', label_of[name], name])
    return rows


def _aircraft_lines(file: Path) -> list[str]:
    if not file.is_file():
        raise FileNotFoundError(
            f'{file} does not exist; expected the layout of CoOp: images/, variants.txt and '
            'images_variant_{train,val,test}.txt in data_root. Set data_root in the config.'
        )
    return read_lines(file)


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


@DATASETS.register_module()
@checked_settings
class ImageNetShiftDataset(ListedImagesDataset):
    """A domain shift of ImageNet: a folder for each class, named by WordNet id or label.

    Labels are ImageNet's, whichever of its classes the set has. Where it lacks some (-A and -R
    have 200), ``metainfo['competing_labels']`` lists those it has, and only these compete in a
    prediction. So a set that is not whole would score higher than it should, and is an error.

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

"""A user's own images: a folder for each class, or one file of paths and labels."""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmpretrain.registry import DATASETS

from ..class_names.resolve import class_names_of_split
from ..io.files import write_atomically
from ..io.json_file import read_json
from ..io.names import composed, folded, shown
from ..io.own_images import SPLITS, read_own_images
from ..utils.settings import check_choice, checked_settings
from .listed_images import ListedImagesDataset

SEED = 1
FILE_NAME = f'split_sotglp_seed{SEED}.json'
"""Never the name of one of the field's fixed split files."""

TEST_OR_ALL = 'test_or_all'
"""As ``split``: images that a model which did not train on them is evaluated on."""


@DATASETS.register_module()
@checked_settings
class OwnImagesDataset(ListedImagesDataset):
    """Images as a user has them; see :func:`read_own_images` for the forms.

    Where neither folders nor file say what is for training and what for testing, the images are
    split 50/20/30 by a seed; the split is written beside them, and used from then on.

    Args:
        data_root (str): The folder, or the file.
        split (str): 'train', 'val', 'test', or 'test_or_all': those for testing, or, where nothing
            splits the images or has split them, all. Defaults to 'train'.
        classes (Sequence[str], optional): Class names in label order, of which the images may
            lack some. Defaults to those of the images, sorted.
        **kwargs: As in MMPretrain's ``BaseDataset``.

    Raises:
        ValueError: What :func:`read_own_images` refuses, an absent split, a class that is not one
            of ``classes``, or a kept split that does not fit the images any more.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        classes: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice('OwnImagesDataset', 'split', split, (*SPLITS, TEST_OR_ALL))
        own = read_own_images(data_root, min_classes=1 if classes else 2)
        for note in own.notes:
            print_log(f'{own.source}: {note}', logger='current')
        prefix = '' if own.source == own.folder else f'{own.source.stem}_'
        file = own.folder / f'{prefix}{FILE_NAME}'
        splits = own.splits
        if split == TEST_OR_ALL:
            split = 'test'
            if splits is None and not file.is_file():
                rows = [[path, own.classes.index(name), name] for path, name in own.labelled]
                splits = {split: rows}
        if splits is None:
            splits = _kept_split(file, own.labelled, own.classes)
        if not splits.get(split):
            raise ValueError(
                f'{own.source} has no images for split {split!r}; it has '
                f'{sorted(name for name, rows in splits.items() if rows)}'
            )
        rows, names = splits[split], own.classes
        if classes:
            names = tuple(map(composed, classes))
            rows = _relabelled(rows, names, own.source)
        super().__init__(
            rows=rows,
            classes=names,
            folder=own.folder,
            source=f'split {split!r} of {own.source}',
            data_root=str(own.folder),
            **{'test_mode': split != 'train', **kwargs},
        )


def _relabelled(rows: Sequence[Sequence], classes: Sequence[str], source: Path) -> list[list]:
    """Rows with the labels of these classes; capitals and underscores do not matter."""
    label_of = {folded(name): label for label, name in enumerate(classes)}
    label_of |= {name: label for label, name in enumerate(classes)}
    labels = {name: label_of.get(name, label_of.get(folded(name))) for *_, name in rows}
    unknown = sorted(name for name, label in labels.items() if label is None)
    if unknown:
        raise ValueError(
            f'{source} has images of {shown(unknown)}, which the model does not know; it has '
            f'{len(classes)} classes: {shown(classes)}. Name the folders like these'
        )
    return [[path, labels[name], name] for path, _, name in rows]


def _split_images(labelled: Iterable[tuple[str, str]], classes: Sequence[str]) -> dict[str, list]:
    """Half of every class for training, 20 % for validation, the rest for testing.

    One image is in 'train', two in 'train' and 'test'; no class depends on another.
    """
    splits: dict[str, list] = {split: [] for split in SPLITS}
    by_class: dict[str, list[str]] = {name: [] for name in classes}
    for path, name in labelled:
        by_class[name].append(path)
    for label, name in enumerate(classes):
        paths = sorted(by_class[name])
        rng = np.random.default_rng([SEED, *name.encode()])
        paths = [paths[i] for i in rng.permutation(len(paths))]
        train = max(round(0.5 * len(paths)), 1)
        val = train + min(round(0.2 * len(paths)), max(len(paths) - train - 1, 0))
        parts = paths[:train], paths[train:val], paths[val:]
        for rows, part in zip(splits.values(), parts):
            rows.extend([path, label, name] for path in part)
    return splits


def _kept_split(file: Path, labelled: Sequence[tuple[str, str]], classes: Sequence[str]) -> dict:
    """The split that was written before, or else a new one, written to ``file``."""
    if not file.is_file():
        splits = _split_images(labelled, classes)
        try:
            write_atomically(file, json.dumps(splits, indent=1))
        except OSError as error:
            _warn(
                f'the split could not be written to {file} ({error}); it is drawn again in every '
                'run, and is the same as long as the images are'
            )
        return splits
    try:
        splits = read_json(file, 'split file')
    except ValueError as error:
        raise ValueError(f'{error}; delete it to split anew') from error
    found = class_names_of_split(splits, file)
    differences = _differences(splits, dict(labelled))
    if found != tuple(classes):
        changed = shown(sorted(set(found) ^ set(classes))) or 'in another order'
        text = f'it has {len(found)} classes and the images {len(classes)} ({changed})'
        differences.insert(0, text)
    if differences:
        raise ValueError(
            f'{file} was drawn from other images than there are now: {"; ".join(differences)}. '
            'Delete the file to split anew, and train anew; or undo the change.'
        )
    return splits


def _differences(splits: dict, label_of: dict[str, str]) -> list[str]:
    """What a kept split says otherwise than the images; new images are only warned of."""
    rows = [(path, name) for part in splits.values() for path, _, name in part]
    kept = dict(rows)
    differences = []
    gone = sorted(path for path in kept if path not in label_of)
    if gone:
        differences.append(f'{len(gone)} of its images are not there any more: {shown(gone)}')
    changed = [(path, name) for path, name in rows if label_of.get(path, name) != name]
    if changed:
        path, name = changed[0]
        differences.append(
            f'{len(changed)} images have another label, the first is {path!r}: {name!r} in the '
            f'split, {label_of[path]!r} now'
        )
    if len(kept) < len(rows):
        differences.append(f'{len(rows) - len(kept)} of its images are listed twice')
    new = sorted(path for path in label_of if path not in kept)
    if new and not differences:
        _warn(
            f'{len(new)} images are not in the kept split and are not used: {shown(new)}. Delete '
            'the split file to split anew.'
        )
    return differences


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)

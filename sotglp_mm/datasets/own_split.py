"""A seeded 50/20/30 split, for data that come without one."""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from ..class_names.resolve import class_names_of_split
from ..io.files import write_atomically
from ..io.json_file import read_json

SEED = 1
FILE_NAME = f'split_sotglp_seed{SEED}.json'
"""Ours is never called like one of the field's fixed split files."""


def split_images(labelled: Iterable[tuple[str, str]], classes: Sequence[str]) -> dict[str, list]:
    """Half of every class for training, 20 % for validation, the rest for testing.

    Args:
        labelled: (relative path, class name) of every image, in any order.
        classes: Class names in label order.

    Returns:
        dict: As in a CoOp split file. A class of one image has it in 'train', of two in 'train'
        and 'test'. Classes are drawn apart: one more class, or image of it, changes no other.
    """
    splits: dict[str, list] = {'train': [], 'val': [], 'test': []}
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


def kept_split(file: Path, labelled: Sequence[tuple[str, str]], classes: Sequence[str]) -> dict:
    """The split that was written before, or else a new one, written to ``file``.

    Args:
        file: Where it is kept.
        labelled: (relative path, class name) of every image that is there now.
        classes: Class names in label order.

    Raises:
        ValueError: The file is broken, or has other classes.
    """
    if file.is_file():
        splits = _read(file, classes)
        _warn_of_new_images(file, splits, labelled)
        return splits
    splits = split_images(labelled, classes)
    _write(file, splits)
    return splits


def _read(file: Path, classes: Sequence[str]) -> dict:
    try:
        splits = read_json(file, 'split file')
    except ValueError as error:
        raise ValueError(f'{error}; delete it to split anew') from error
    found = class_names_of_split(splits, file)
    if found != tuple(classes):
        changed = sorted(set(found) ^ set(classes))[:3] or 'in another order'
        raise ValueError(
            f'{file} has {len(found)} classes, and the images {len(classes)} ({changed}); '
            'delete the file to split anew, and train anew'
        )
    return splits


def _warn_of_new_images(file: Path, splits: dict, labelled: Sequence[tuple[str, str]]) -> None:
    known = {row[0] for rows in splits.values() for row in rows}
    new = sorted(path for path, _ in labelled if path not in known)
    if new:
        print_log(
            f'{len(new)} images are not in {file} and are not used, the first is {new[0]}; '
            'delete the file to split anew',
            logger='current',
            level=logging.WARNING,
        )


def _write(file: Path, splits: dict) -> None:
    try:
        write_atomically(file, json.dumps(splits, indent=1))
    except OSError as error:
        print_log(
            f'the split could not be written to {file} ({error}); it is drawn again in every run, '
            'and is the same as long as the images are',
            logger='current',
            level=logging.WARNING,
        )

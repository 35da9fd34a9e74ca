"""Which images a few-shot set has, as a file that others can train on.

::

    {"num_shots": 16, "seed": 1, "sampling": "per_class", "label_codes": "label",
     "classes": [...],
     "images": [[identity, label], ...],
     "sha256": "... of the images"}

The identity of an image is its path below the folder of the images, which is the same in every
layout, or, where it is not a file, what its annotation holds beside the label.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..class_names.resolve import class_difference
from ..io.json_file import read_record
from .data_identity import image_identity, images_root_of, plain, samples_digest

KEYS = {
    **{'num_shots': int, 'seed': int, 'sampling': str},
    **{'classes': list, 'images': list, 'sha256': str},
}


def few_shot_record(few_shot: Any) -> dict:
    """The content of the file, of a built ``FewShotDataset``."""
    root = images_root_of(few_shot)
    images = plain(
        [
            [image_identity(few_shot.get_data_info(i), root), few_shot.get_cat_ids(i)[0]]
            for i in range(len(few_shot))
        ]
    )
    return dict(
        num_shots=few_shot.num_shots,
        seed=few_shot.seed,
        sampling=few_shot.sampling,
        label_codes=few_shot.label_codes,
        classes=list(few_shot.CLASSES),
        images=images,
        sha256=samples_digest(images),
    )


def read_few_shot_files(file: str | Path) -> dict:
    """Read and check such a file.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It is not of this form, or its images are not those that it was written with.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'few-shot file {path} does not exist; FewShotRecordHook writes it as '
            '<work_dir>/few_shot_files.json. Correct files of FewShotDataset, or leave it out to '
            'draw the images by seed.'
        )
    record = read_record(path, KEYS, 'take a file of FewShotRecordHook', 'few-shot file')
    for name in record['classes']:
        if not isinstance(name, str):
            raise ValueError(f'few-shot file {path} has the class {name!r}; expected a name')
    for row in record['images']:
        if not (isinstance(row, list) and len(row) == 2 and type(row[1]) is int):
            raise ValueError(
                f'few-shot file {path} has the image {row!r}; expected [identity, label]'
            )
    if not record['images']:
        raise ValueError(f'few-shot file {path} has no images; at least one is needed')
    digest = samples_digest(record['images'])
    if digest != record['sha256']:
        raise ValueError(
            f'few-shot file {path} was changed after it was written: its images have the sha256 '
            f'{digest}, and it says {record["sha256"]}. Take the original file.'
        )
    return record


def indices_of_files(
    record: dict, dataset: Any, classes: Sequence[str], labels: np.ndarray, file: str | Path
) -> np.ndarray:
    """Where the images of a record are in a dataset, in the record's order; int (images,).

    Args:
        record: What :func:`read_few_shot_files` gave.
        dataset: With ``get_data_info``.
        classes: Class names that the record must be of.
        labels: int (images of the dataset,).
        file: Where the record was read, for messages.

    Raises:
        ValueError: The classes differ, or an image is not there or has another label there.
    """
    difference = class_difference(record['classes'], classes, 'the file', 'the dataset')
    if difference is not None:
        raise ValueError(
            f'few-shot file {file} is of other classes: {difference}. Take the dataset that it '
            'was written with.'
        )
    root = images_root_of(dataset)
    # by label, too: a list of images may name one twice
    places: dict[str, dict[int, int]] = {}
    for index, label in enumerate(labels.tolist()):
        key = _key(image_identity(dataset.get_data_info(index), root))
        places.setdefault(key, {}).setdefault(label, index)
    indices = []
    for identity, label in record['images']:
        found = places.get(_key(identity), {})
        if not found:
            raise ValueError(
                f'few-shot file {file} names the image {identity!r}, which the dataset does not '
                'have; set data_root and split of the dataset as they were when the file was '
                'written, or complete the data'
            )
        if label not in found:
            raise ValueError(
                f'few-shot file {file} gives the image {identity!r} label {label}, and the '
                f'dataset label {next(iter(found))}; take the dataset (split file) that it was '
                'written with'
            )
        indices.append(found[label])
    return np.array(indices)


def _key(identity: Any) -> str:
    return json.dumps(plain(identity), sort_keys=True)

"""A few images of every class, drawn once and for all by a seed, or read from a file.

The file, ``few_shot_files.json``, says which images a run learned from::

    {"num_shots": 16, "seed": 1, "sampling": "per_class", "label_codes": "label",
     "classes": [...],
     "images": [[identity, label], ...],
     "sha256": "... of the images"}

The identity of an image is its path below the folder of the images, which is the same in every
layout, or, where it is not a file, what its annotation holds beside the label.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS, TRANSFORMS

from ..class_names.resolve import class_difference
from ..io.json_file import read_record
from ..utils.settings import check_choice, checked_settings
from .data_identity import (
    class_names_of,
    image_identity,
    images_root_of,
    innermost,
    label_of,
    plain,
    samples_digest,
)
from .epoch_sampler import item_randomness

HALVES = ('base', 'new')
"""Of a dataset's classes, as CoOp and CoCoOp divide them."""

CHOICES = dict(
    sampling=('per_class', 'stratified'),
    label_codes=('label', 'first_appearance'),
    classes=('all', 'base'),
)
KEYS = {
    **{'num_shots': int, 'seed': int, 'sampling': str},
    **{'classes': list, 'images': list, 'sha256': str},
}
"""What a file of images holds, and of which type it is."""


@DATASETS.register_module()
@checked_settings
class FewShotDataset:
    """The few-shot part of a dataset.

    Two protocols are in use, and results compare only within one of them:

    - ``'per_class'``, the field's standard (CoOp): exactly ``num_shots`` images of every class,
      or all, where a class has fewer. Shots nest: with one seed, the 1-shot set is part of the
      2-shot set.
    - ``'stratified'``, of GalLoP's and SOT-GLP's released programs: ``num_shots * C`` images in
      all, stratified by class frequency (scikit-learn's ``StratifiedShuffleSplit``), so rare
      classes get fewer.

    It may wrap, and be wrapped by, ``ConcatDataset``, ``RepeatDataset``, ``ClassBalancedDataset``
    and ``KFoldDataset``: shots from train and val together are those of a ``ConcatDataset``. An
    image that a wrapper or a list repeats is drawn once.

    Args:
        dataset (dict | BaseDataset): The dataset to draw from.
        num_shots (int): Images for each class. Defaults to 16.
        seed (int): Of the draw; nothing else influences it. Defaults to 1.
        sampling (str): 'per_class' or 'stratified'. Defaults to 'per_class'.
        files (str, optional): Nothing is drawn: the images are those of this file, which
            ``FewShotRecordHook`` wrote as ``<work_dir>/few_shot_files.json``, in its order, and
            ``num_shots``, ``seed`` and ``sampling`` are what it says. Defaults to None.
        label_codes (str): The order of classes in a stratified draw: 'label', or
            'first_appearance' in the dataset, as the released program has it for StanfordCars and
            Flowers102. Defaults to 'label'.
        classes (str): 'all', or 'base': images of the first half of the classes alone, and class
            names of these, to be tested on new classes (see :class:`EvaluationSets`). Their
            images are those that 'all' draws for them. Defaults to 'all'.
        pipeline (Sequence, optional): Transforms, where ``dataset`` has none of its own. Defaults
            to None.

    Raises:
        ValueError: The dataset has no class names or several labels an image, a class has no
            image, for 'stratified' the dataset is too small, or ``files`` does not fit it.
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        num_shots: int = 16,
        seed: int = 1,
        sampling: str = 'per_class',
        files: str | None = None,
        label_codes: str = 'label',
        classes: str = 'all',
        pipeline: Sequence | None = None,
    ):
        if num_shots < 1:
            raise ValueError(f'FewShotDataset: num_shots must be at least 1, got {num_shots}')
        chosen = dict(sampling=sampling, label_codes=label_codes, classes=classes)
        for name, value in chosen.items():
            check_choice('FewShotDataset', name, value, CHOICES[name])
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.num_shots, self.seed = num_shots, seed
        self.sampling, self.label_codes = sampling, label_codes
        self.dataset.full_init()
        if pipeline is not None and not self.pipeline.transforms:
            self.pipeline = Compose([TRANSFORMS.build(each) for each in pipeline])
        self._classes = class_names_of(self.dataset)
        if classes == 'base':
            self._classes = self._classes[: len(labels_of('base', len(self._classes)))]
        labels, distinct = self._labels_and_distinct()
        self._check_classes(labels)
        if files is None:
            self.indices = distinct[self._draw(labels[distinct])]
        else:
            self.indices = self._read(files, labels)
        self._log(labels, files)

    @property
    def metainfo(self) -> dict:
        return dict(self.dataset.metainfo, classes=self._classes)

    @property
    def CLASSES(self) -> tuple[str, ...]:  # MMPretrain's name
        return self._classes

    @property
    def pipeline(self) -> Compose:
        """Transforms of the wrapped dataset; of the first, where there are several."""
        return next(innermost(self.dataset)).pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Compose) -> None:
        for each in innermost(self.dataset):
            each.pipeline = pipeline

    def full_init(self) -> None:
        """Nothing left to do; MMEngine calls it."""

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict:
        with item_randomness(index):
            return self.dataset[int(self.indices[index])]

    def get_data_info(self, index: int) -> dict:
        return self.dataset.get_data_info(int(self.indices[index]))

    def get_cat_ids(self, index: int) -> list[int]:
        return [label_of(self.get_data_info(index), self.dataset)]

    def get_gt_labels(self) -> np.ndarray:
        """int (number of drawn images,)."""
        return np.array([self.get_cat_ids(i)[0] for i in range(len(self))])

    def get_subset(self, indices: int | Sequence[int]) -> 'FewShotDataset':
        """The images of some indices, or the first or (negative) last so many, as MMEngine has it.

        ``num_shots`` stays that of the draw.
        """
        subset = copy.copy(self)
        if isinstance(indices, int):
            indices = range(len(self))[:indices] if indices >= 0 else range(len(self))[indices:]
        subset.indices = self.indices[list(indices)]
        return subset

    def few_shot_record(self) -> dict:
        """Settings, classes and images of this set, for a file that ``files`` takes."""
        root = images_root_of(self)
        infos = ((self.get_data_info(i), self.get_cat_ids(i)[0]) for i in range(len(self)))
        images = plain([[image_identity(info, root), label] for info, label in infos])
        return dict(
            num_shots=self.num_shots,
            seed=self.seed,
            sampling=self.sampling,
            label_codes=self.label_codes,
            classes=list(self.CLASSES),
            images=images,
            sha256=samples_digest(images),
        )

    def _labels_and_distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """Label of each image, and where each comes first: wrappers and lists repeat some."""
        labels: list[int] = []
        first: dict[tuple, int] = {}
        for index in range(len(self.dataset)):
            info = self.dataset.get_data_info(index)
            labels.append(label_of(info, self.dataset))
            identity = info.get('img_path') or json.dumps(image_identity(info, ''))
            first.setdefault((identity, labels[-1]), index)
        return np.array(labels), np.array(list(first.values()))

    def _draw(self, labels: np.ndarray) -> np.ndarray:
        ours = np.flatnonzero(labels < len(self._classes))
        labels, draw = labels[ours], per_class_indices
        if self.sampling == 'stratified':
            draw = stratified_indices
            if self.label_codes == 'first_appearance':
                codes = {label: code for code, label in enumerate(dict.fromkeys(labels.tolist()))}
                labels = np.array([codes[label] for label in labels.tolist()])
        return ours[draw(labels, self.num_shots, self.seed)]

    def _read(self, files: str, labels: np.ndarray) -> np.ndarray:
        """Where the images of a file are in the dataset, in its order; int (images,)."""
        record = read_few_shot_files(files)
        # what this run says of itself must be true of its images
        self.num_shots, self.seed = record['num_shots'], record['seed']
        self.sampling = record['sampling']
        self.label_codes = record.get('label_codes', 'label')
        theirs = record['classes']
        if difference := class_difference(theirs, self._classes, 'the file', 'the dataset'):
            raise ValueError(
                f'few-shot file {files} is of other classes: {difference}. Take the dataset that '
                'it was written with.'
            )
        root = images_root_of(self.dataset)
        # by label, too: a list of images may name one twice
        places: dict[str, dict[int, int]] = {}
        for index, label in enumerate(labels.tolist()):
            identity = _key(image_identity(self.dataset.get_data_info(index), root))
            places.setdefault(identity, {}).setdefault(label, index)
        indices = []
        for identity, label in record['images']:
            found = places.get(_key(identity), {})
            if label not in found:
                problem = (
                    f'names the image {identity!r}, which the dataset does not have; set '
                    'data_root and split of the dataset as they were when the file was written, '
                    'or complete the data'
                )
                if found:
                    problem = (
                        f'gives the image {identity!r} label {label}, and the dataset label '
                        f'{next(iter(found))}; take the dataset (split file) that it was written '
                        'with'
                    )
                raise ValueError(f'few-shot file {files} {problem}')
            indices.append(found[label])
        return np.array(indices)

    def _check_classes(self, labels: np.ndarray) -> None:
        counts = np.bincount(labels, minlength=len(self.CLASSES))[: len(self.CLASSES)]
        empty = [name for name, count in zip(self.CLASSES, counts) if count == 0]
        if empty:
            raise ValueError(
                f'{type(self.dataset).__name__} has no training image of {len(empty)} of '
                f'{len(counts)} classes, the first is {empty[0]!r}; a few-shot set needs at '
                'least one image of every class. Add images, or take the class out.'
            )

    def _log(self, labels: np.ndarray, files: str | None) -> None:
        counts = np.bincount(labels[self.indices], minlength=len(self.CLASSES))
        fewer = {n: int(c) for n, c in zip(self.CLASSES, counts) if c < self.num_shots}
        print_log(
            f'Few-shot set: {len(self)} images of {len(counts)} classes, {self.num_shots} shots, '
            f'sampling={self.sampling!r}, seed {self.seed}'
            + (f'; read from {files}' if files is not None else '')
            + (f'; fewer than {self.num_shots} images: {fewer}' if fewer else ''),
            logger='current',
        )


def per_class_indices(labels: np.ndarray, num_shots: int, seed: int) -> np.ndarray:
    """At most ``num_shots`` indices of each class, sorted; int (number drawn,)."""
    drawn = []
    for label in np.unique(labels):
        # a permutation for each class, then a slice: shots nest, and no class depends on another
        rng = np.random.default_rng([seed, int(label)])
        drawn.append(rng.permutation(np.flatnonzero(labels == label))[:num_shots])
    return np.sort(np.concatenate(drawn))


def stratified_indices(labels: np.ndarray, num_shots: int, seed: int) -> np.ndarray:
    """``num_shots * C`` indices stratified by class frequency, sorted; int (number drawn,)."""
    classes, counts = np.unique(labels, return_counts=True)
    total, rarest = num_shots * len(classes), int(np.argmin(counts))
    if total + len(classes) > len(labels) or counts[rarest] < 2:
        raise ValueError(
            f"FewShotDataset: sampling='stratified' cannot draw {num_shots} x {len(classes)} "
            f'images out of {len(labels)} (it has to leave {len(classes)} over, and needs 2 of '
            f'every class; the rarest, label {classes[rarest]}, has {counts[rarest]}). '
            "Take fewer shots, or sampling='per_class'."
        )
    # here: scikit-learn is a fifth of the package's import time, and most runs need none of it
    from sklearn.model_selection import StratifiedShuffleSplit

    splitter = StratifiedShuffleSplit(n_splits=1, train_size=total, random_state=seed)
    return np.sort(next(splitter.split(labels, labels))[0])


def read_few_shot_files(file: str | Path) -> dict:
    """Read and check such a file."""
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


def _key(identity: Any) -> str:
    return json.dumps(plain(identity), sort_keys=True)


def labels_of(half: str, num_classes: int) -> range:
    """Labels of one half: the first ``ceil(C / 2)`` classes are 'base', the others 'new'."""
    if half not in HALVES:
        raise ValueError(f'classes={half!r} is not known; choose one of {HALVES}')
    middle = (num_classes + 1) // 2
    return range(middle) if half == 'base' else range(middle, num_classes)

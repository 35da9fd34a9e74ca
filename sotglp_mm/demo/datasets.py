"""The demo's datasets, whose images are made when they are asked for.

Scenes are made-up things that are known by the parts they show; digits are real handwriting,
which the demo's tiny CLIP has never seen; unseen images are of no class.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from ..utils.settings import checked_settings
from .drawing import glyph_mask
from .world import COLOURS, IMAGE_SIZE, LETTERS, PAIRS, SHAPES, Scene, render_scene

# Made up, so that a zero-shot classifier is at chance and all must come from the shots.
_NAMES = """
    bavo cilen dromi fesku gapol hinto jeluk kormi lusep makri nolta pefin
    quosa ribek sotul tiraz ulmeg vondi wexap yurbo zagim brulo clesti drupan
"""
CLASS_NAMES = tuple(_NAMES.split())
PARTS_PER_CLASS = 3

# Pairs that no class has and no scene of this dataset shows: an out-of-distribution set is made
# of them. Every colour and every shape keeps other pairs that do occur.
HELD_OUT_PAIRS = tuple(
    f'{colour} {shape}'
    for i, colour in enumerate(COLOURS)
    for j, shape in enumerate(SHAPES)
    if (i + j) % 4 == 0
)

# Images per class. The position of a split in this table is part of the seeds of its images.
SPLIT_SIZES = {'train': 64, 'val': 12, 'test': 40}

# Digits of each class; the test split is what is left of the 1797.
_DIGITS = {'train': (0, 64), 'val': (64, 84), 'test': (84, None)}

UNSEEN = ('scenes', 'letters')
_SCAN = 8  # pixels of a side of scikit-learn's digits


class DrawnDataset(BaseDataset):
    """Nothing is on disk; a derived class lists what there is, and draws an item.

    ``kind`` is one of ``kinds``, e.g. the split; the rest is as in MMPretrain's ``BaseDataset``.
    """

    def __init__(
        self, kind: str, kinds: Sequence[str], pipeline: Sequence = (), **kwargs: Any
    ) -> None:
        if kind not in kinds:
            raise ValueError(f'{type(self).__name__} has no {kind!r}; it has {", ".join(kinds)}')
        self.kind = kind
        kwargs.setdefault('test_mode', kind != 'train')
        super().__init__(ann_file='', pipeline=pipeline, **kwargs)

    def draw(self, info: dict) -> tuple[np.ndarray, dict]:
        """The image of an item of the list, (H, W, 3) uint8 BGR, and more fields."""
        raise NotImplementedError

    def prepare_data(self, idx: int) -> dict:
        info = self.get_data_info(idx)
        image, more = self.draw(info)
        shape = image.shape[:2]
        return self.pipeline(dict(**info, img=image, img_shape=shape, ori_shape=shape, **more))


@lru_cache(maxsize=1)
def class_parts() -> tuple[tuple[str, ...], ...]:
    """The three parts of each class; 36 pairs, each of two classes, no two classes share two."""
    rng = np.random.default_rng(11)
    free = [name for name in PAIRS if name not in HELD_OUT_PAIRS]
    slots = rng.permutation(free)[: len(CLASS_NAMES) * PARTS_PER_CLASS // 2].repeat(2)
    while True:
        table = rng.permutation(slots).reshape(len(CLASS_NAMES), PARTS_PER_CLASS)
        sets = [frozenset(row) for row in table]
        overlaps = [len(a & b) for i, a in enumerate(sets) for b in sets[:i]]
        if min(map(len, sets)) == PARTS_PER_CLASS and max(overlaps) == 1:
            return tuple(tuple(map(str, row)) for row in table)


def other_parts() -> tuple[str, ...]:
    """Pairs that are in no class and not held out: what a scene shows beside its class."""
    taken = {*HELD_OUT_PAIRS, *(name for parts in class_parts() for name in parts)}
    return tuple(name for name in PAIRS if name not in taken)


@DATASETS.register_module()
@checked_settings
class DemoScenesDataset(DrawnDataset):
    """Generated scenes of 24 classes; nothing is read from disk.

    A class is a set of three coloured shapes, and shares each of them with another class. An
    image shows two or all of its class's parts, small, among other parts that belong to no class;
    so what counts is local, and one part alone does not tell the class.

    The list of data holds seeds; an image is drawn when the item is asked for. Items have ``img``
    (64, 64, 3) uint8 BGR, ``img_shape``, ``ori_shape``, ``gt_label``, ``sample_idx``,
    ``all_parts`` (1 if all three parts of its class are shown, else 0: a second task) and
    ``parts``, a list of ``dict(name, centre=(x, y), box=(x0, y0, x1, y1), of_class=bool)`` in
    pixels of the drawn image: transforms do not move them.

    Args:
        split (str): 'train' (64 images of each class), 'val' (12) or 'test' (40). No image of one
            split is in another. Defaults to 'train'.
        pipeline (Sequence): Transforms; no loading is needed. Defaults to none.
        **kwargs: As in MMPretrain's ``BaseDataset``.
    """

    METAINFO = {'classes': CLASS_NAMES}

    def __init__(self, split: str = 'train', pipeline: Sequence = (), **kwargs: Any) -> None:
        self.split = split
        super().__init__(split, list(SPLIT_SIZES), pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        number = list(SPLIT_SIZES).index(self.split)
        return [
            dict(seed=(number, label, index), gt_label=label)
            for label in range(len(CLASS_NAMES))
            for index in range(SPLIT_SIZES[self.split])
        ]

    def draw(self, info: dict) -> tuple[np.ndarray, dict]:
        own = class_parts()[info['gt_label']]
        image, scene = _draw_scene(own, np.random.default_rng(info['seed']))
        parts = [{**part._asdict(), 'of_class': part.name in own} for part in scene.parts]
        shown = sum(part['of_class'] for part in parts)
        return image, dict(parts=parts, all_parts=int(shown == PARTS_PER_CLASS))


def _draw_scene(names: Sequence[str], rng: np.random.Generator) -> tuple[np.ndarray, Scene]:
    """Two or three of the named parts, among two of no class; the image as BGR."""
    shown = rng.choice(names, rng.integers(2, PARTS_PER_CLASS + 1), replace=False)
    beside = rng.choice(other_parts(), 2, replace=False)
    scene = render_scene([str(name) for name in (*shown, *beside)], rng, grid=3)
    return np.ascontiguousarray(scene.image[..., ::-1]), scene


@lru_cache(maxsize=1)  # it parses a text file every time
def _load_digits() -> Any:
    # here: scikit-learn is a fifth of the package's import time, and most runs need none of it
    from sklearn.datasets import load_digits

    return load_digits()


@DATASETS.register_module()
@checked_settings
class DemoDigitsDataset(DrawnDataset):
    """The 1797 handwritten digits that scikit-learn carries (8 x 8 pixels, 17 grey levels).

    White on black, scaled to 0-255 and blown up here, with cubic interpolation; the pipeline needs
    neither loading nor resizing. Items have ``img`` (image_size, image_size, 3) uint8 BGR,
    ``img_shape``, ``ori_shape``, ``gt_label`` and ``sample_idx``.

    Args:
        split (str): 'train' (64 images of each digit), 'val' (20) or 'test' (the rest, 90 to 99);
            which image is where is drawn once and never changes. Defaults to 'train'.
        pipeline (Sequence): Transforms. Defaults to none.
        image_size (int): Pixels of a side. Defaults to 64.
        **kwargs: As in MMPretrain's ``BaseDataset``.
    """

    METAINFO = {'classes': tuple('0123456789')}

    def __init__(
        self, split: str = 'train', pipeline: Sequence = (), image_size: int = 64, **kwargs: Any
    ) -> None:
        self.split, self.image_size = split, image_size
        digits = _load_digits()
        self._scans, self._labels = digits.images, digits.target
        super().__init__(split, list(_DIGITS), pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        start, stop = _DIGITS[self.split]
        found = []
        for label in range(10):
            rng = np.random.default_rng((8, label))
            order = rng.permutation(np.flatnonzero(self._labels == label))
            found += [dict(scan=int(scan), gt_label=label) for scan in order[start:stop]]
        return found

    def draw(self, info: dict) -> tuple[np.ndarray, dict]:
        return _blown_up(self._scans[info['scan']].astype(np.float32), self.image_size), {}


@DATASETS.register_module()
@checked_settings
class DemoUnseenDataset(DrawnDataset):
    """Generated images of no class; they differ from the known ones in what they show alone.

    ``'scenes'`` are those of :class:`DemoScenesDataset` with parts that no class has in the place
    of a class's parts, and the same distractors. ``'letters'`` are written and scanned as coarsely
    as the digits of :class:`DemoDigitsDataset`. Items have ``img``, ``img_shape``, ``ori_shape``
    and ``sample_idx``, and no label.

    Args:
        kind (str): 'scenes' or 'letters'.
        pipeline (Sequence): Transforms. Defaults to none.
        num_images (int): Defaults to 480.
        **kwargs: As in MMPretrain's ``BaseDataset``.
    """

    def __init__(
        self, kind: str, pipeline: Sequence = (), num_images: int = 480, **kwargs: Any
    ) -> None:
        self.num_images = num_images
        super().__init__(kind, UNSEEN, pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        return [dict(seed=(97, UNSEEN.index(self.kind), i)) for i in range(self.num_images)]

    def draw(self, info: dict) -> tuple[np.ndarray, dict]:
        rng = np.random.default_rng(info['seed'])
        if self.kind == 'scenes':
            return _draw_scene(HELD_OUT_PAIRS, rng)[0], {}
        return _draw_letter(rng), {}

    def get_cat_ids(self, idx: int) -> list[int]:
        return []


def _draw_letter(rng: np.random.Generator) -> np.ndarray:
    """White on black, reduced to 8 x 8 pixels of 17 grey levels and blown up, as digits are."""
    size = IMAGE_SIZE
    turn, width = rng.uniform(-0.2, 0.2), rng.uniform(0.55, 0.75)
    rotation = np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    matrix = np.c_[rotation @ np.diag([width, 0.88]) * size / 2, np.full(2, size / 2)]
    letter = str(rng.choice(LETTERS))
    mask = glyph_mask(letter, matrix, size, rng, size * rng.uniform(0.1, 0.16))
    scan = cv2.resize(mask, (_SCAN, _SCAN), interpolation=cv2.INTER_AREA).astype(np.float32)
    return _blown_up(np.round(np.clip(1.3 * scan, 0, 255) / 255 * 16), size)


def _blown_up(scan: np.ndarray, size: int) -> np.ndarray:
    """Of 17 grey levels (h, w): (size, size, 3) uint8."""
    grey = cv2.resize(scan * (255 / 16), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)

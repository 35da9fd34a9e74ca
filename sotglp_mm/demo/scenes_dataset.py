"""The demo's classification task: made-up things that are known by the parts they show."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from mmpretrain.registry import DATASETS

from ..utils.settings import checked_settings
from .drawn_dataset import DrawnDataset
from .world import COLOURS, PAIRS, SHAPES, render_scene

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
        num_distractors (int): Parts of no class in every image, at most 6. Defaults to 2.
        **kwargs: As in MMPretrain's ``BaseDataset``.
    """

    METAINFO = {'classes': CLASS_NAMES}

    def __init__(
        self,
        split: str = 'train',
        pipeline: Sequence = (),
        num_distractors: int = 2,
        **kwargs: Any,
    ) -> None:
        if not 0 <= num_distractors <= 9 - PARTS_PER_CLASS:
            raise ValueError(
                f'DemoScenesDataset: num_distractors={num_distractors}, but a scene has room for '
                f'0 to {9 - PARTS_PER_CLASS} beside the parts of its class'
            )
        self.split, self.num_distractors = split, num_distractors
        super().__init__(split, list(SPLIT_SIZES), pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One ``dict(seed, gt_label)`` for each image, classes one after the other."""
        number = list(SPLIT_SIZES).index(self.split)
        return [
            dict(seed=(number, label, index), gt_label=label)
            for label in range(len(CLASS_NAMES))
            for index in range(SPLIT_SIZES[self.split])
        ]

    def draw(self, info: dict) -> tuple[np.ndarray, dict]:
        """A scene, and where its parts lie."""
        rng = np.random.default_rng(info['seed'])
        own = class_parts()[info['gt_label']]
        shown = rng.choice(own, rng.integers(2, PARTS_PER_CLASS + 1), replace=False)
        beside = rng.choice(other_parts(), self.num_distractors, replace=False)
        scene = render_scene([str(name) for name in (*shown, *beside)], rng, grid=3)
        parts = [{**part._asdict(), 'of_class': part.name in own} for part in scene.parts]
        more = dict(parts=parts, all_parts=int(len(shown) == PARTS_PER_CLASS))
        return np.ascontiguousarray(scene.image[..., ::-1]), more

"""The demo's out-of-distribution images: scenes of parts that no class has, and letters."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmpretrain.registry import DATASETS

from ..utils.settings import checked_settings
from .drawing import glyph_mask
from .drawn_dataset import DrawnDataset
from .scenes_dataset import HELD_OUT_PAIRS, PARTS_PER_CLASS, other_parts
from .world import IMAGE_SIZE, LETTERS, render_scene

KINDS = ('scenes', 'letters')
_SCAN = 8  # pixels of a side of scikit-learn's digits


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
        super().__init__(kind, KINDS, pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One ``dict(seed)`` for each image."""
        return [dict(seed=(97, KINDS.index(self.kind), i)) for i in range(self.num_images)]

    def draw(self, info: dict) -> tuple[np.ndarray, dict]:
        """A scene or a letter."""
        rng = np.random.default_rng(info['seed'])
        return _unseen_scene(rng) if self.kind == 'scenes' else _letter(rng), {}

    def get_cat_ids(self, idx: int) -> list[int]:
        """No label: an empty list."""
        return []


def _unseen_scene(rng: np.random.Generator) -> np.ndarray:
    count = rng.integers(2, PARTS_PER_CLASS + 1)
    shown = rng.choice(HELD_OUT_PAIRS, count, replace=False)
    beside = rng.choice(other_parts(), 2, replace=False)
    scene = render_scene([str(name) for name in (*shown, *beside)], rng, grid=3)
    return np.ascontiguousarray(scene.image[..., ::-1])


def _letter(rng: np.random.Generator) -> np.ndarray:
    """White on black, reduced to 8 x 8 pixels of 17 grey levels and blown up, as digits are."""
    size = IMAGE_SIZE
    turn, width = rng.uniform(-0.2, 0.2), rng.uniform(0.55, 0.75)
    rotation = np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    matrix = np.c_[rotation @ np.diag([width, 0.88]) * size / 2, np.full(2, size / 2)]
    letter = str(rng.choice(LETTERS))
    mask = glyph_mask(letter, matrix, size, rng, size * rng.uniform(0.1, 0.16))
    scan = cv2.resize(mask, (_SCAN, _SCAN), interpolation=cv2.INTER_AREA).astype(np.float32)
    scan = np.round(np.clip(1.3 * scan, 0, 255) / 255 * 16) * (255 / 16)
    grey = cv2.resize(scan, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)

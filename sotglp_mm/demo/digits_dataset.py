"""Real handwriting for the demo: scikit-learn's digits, which its tiny CLIP has never seen."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from mmpretrain.registry import DATASETS

from ..utils.settings import checked_settings
from .drawn_dataset import DrawnDataset

# Images per class; the test split is what is left of the 1797.
_SPLIT_STARTS = {'train': (0, 64), 'val': (64, 84), 'test': (84, None)}


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
        super().__init__(split, list(_SPLIT_STARTS), pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One ``dict(scan, gt_label)`` for each image: its number in scikit-learn's order."""
        start, stop = _SPLIT_STARTS[self.split]
        found = []
        for label in range(10):
            rng = np.random.default_rng((8, label))
            order = rng.permutation(np.flatnonzero(self._labels == label))
            found += [dict(scan=int(scan), gt_label=label) for scan in order[start:stop]]
        return found

    def draw(self, info: dict) -> tuple[np.ndarray, dict]:
        """Blow up a scan."""
        scan = self._scans[info['scan']].astype(np.float32) * (255 / 16)
        size = (self.image_size, self.image_size)
        grey = cv2.resize(scan, size, interpolation=cv2.INTER_CUBIC)
        return np.clip(grey, 0, 255).astype(np.uint8)[..., None].repeat(3, 2), {}

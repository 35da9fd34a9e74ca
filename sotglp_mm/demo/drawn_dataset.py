"""What the demo's datasets share: images that are made when they are asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset


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
        """Draw item ``idx`` and pass it through the pipeline."""
        info = self.get_data_info(idx)
        image, more = self.draw(info)
        shape = image.shape[:2]
        return self.pipeline(dict(**info, img=image, img_shape=shape, ori_shape=shape, **more))

    def extra_repr(self) -> list[str]:
        """For ``print(dataset)``: no path is shown."""
        return [f'Kind: \t{self.kind}, drawn on demand']

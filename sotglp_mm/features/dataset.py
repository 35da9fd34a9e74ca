"""Images as a frozen tower saw them, read from disk instead of computed."""

import zlib
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import to_tensor
from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample

from ..datasets.data_identity import describe_data
from ..datasets.epoch_sampler import item_randomness
from ..structures import ImageFeatures
from ..utils.settings import checked_settings
from .format import (
    MADE,
    SplitArrays,
    cache_number,
    check_pinned,
    damaged_array,
    open_arrays,
    read_manifest,
    read_split,
)


@DATASETS.register_module()
@checked_settings
class CachedFeatureDataset(BaseDataset):
    """One split of a feature cache that ``sotglp extract`` made.

    An item is ``inputs``, :class:`ImageFeatures` of one view, float16, ``patches`` (P, W) and
    ``image`` (W,), and ``data_samples`` with ``gt_label``. Arrays are memory maps, opened by
    each process when it first reads.

    Args:
        cache (str): Folder of the cache, with its ``manifest.json``.
        split (str): 'train', 'val' or 'test', as in the cache. Defaults to 'train'.
        source (dict, optional): Config of the dataset that the split was made from. It is built,
            and its settings, pipeline, classes and list of images are compared with the manifest.
            None: not compared, for a machine without the images. Defaults to None.
        view (str | int): 'random', drawn anew in every epoch by (seed, epoch, index), if the
            sampler is an ``EpochSampler``, and else by NumPy's generator at every access; or the
            number of a view. Defaults to 'random'.

    Raises:
        FileNotFoundError: There is no cache, or a file of it is missing.
        ValueError: It is incomplete or damaged, was made from other data, or lacks the view.
            Damaged features are found when they are read.
    """

    def __init__(
        self,
        cache: str,
        split: str = 'train',
        source: dict | None = None,
        view: str | int = 'random',
    ):
        self.feature_cache = Path(cache).expanduser()  # FeatureCacheCheckHook compares it
        self.folder = self.feature_cache / split
        self.about, self.samples = read_split(self.feature_cache, split)
        views = self.about['views']
        if view != 'random' and not (type(view) is int and 0 <= view < views):
            raise ValueError(
                f'CachedFeatureDataset: view={view!r}, but split {split!r} of {cache} has '
                f"{views} views; choose 'random' or a number from 0 to {views - 1}"
            )
        self.view = view
        self._arrays: SplitArrays | None = None
        self._number = cache_number(self.folder)
        done = open_arrays(self.folder, self.about).done
        if not done.all():
            raise ValueError(
                f'the feature cache {cache} is incomplete: split {split!r} has '
                f'{int(done.sum())} of {done.size} images and views. Finish it, it goes on where '
                f'it stopped: {self._command()}'
            )
        self.source = None if source is None else self._checked_source(source)
        classes = tuple(self.about['classes'])
        super().__init__(ann_file='', metainfo=dict(classes=classes), test_mode=True)
        data = 'NOT compared with the data (source=None)' if source is None else 'checked'
        print_log(
            f'Cached features: split {split!r} of {cache}, {len(self)} images, {views} views; '
            f'{data}',
            logger='current',
        )

    def load_data_list(self) -> list[dict]:
        infos = []
        for row, (identity, label, _) in enumerate(self.samples):
            if self.source is not None:
                identity = self.source.get_data_info(row).get('img_path')
            path = dict(img_path=identity) if isinstance(identity, str) else {}
            infos.append(dict(gt_label=label, row=row, **path))
        return infos

    def prepare_data(self, idx: int) -> dict:
        info = self.get_data_info(int(idx))
        label, row = info.pop('gt_label'), info.pop('row')
        view = self.view if isinstance(self.view, int) else self._random_view(idx)
        arrays = self._open()
        # of what is read, and of nothing else: opening a cache of any size stays cheap
        damaged = damaged_array(arrays, view, row, self._number)
        if damaged is not None:
            raise ValueError(self._damage(damaged, view, row))
        features = ImageFeatures(
            # copies: a tensor must not write to the map, nor keep it open
            patches=to_tensor(np.array(arrays.patches[view, row])),
            image=to_tensor(np.array(arrays.image[view, row])),
        )
        sample = DataSample(metainfo=dict(**info, view=view)).set_gt_label(label)
        return dict(inputs=features, data_samples=sample)

    def image_embeddings(self) -> np.ndarray:
        """Image embeddings of all views, float16 (V, N, W); patches are not read."""
        arrays = self._open()
        images = np.array(arrays.image)
        for view, index in np.ndindex(images.shape[:2]):
            found = zlib.crc32(images[view, index].tobytes(), self._number)
            if found != arrays.crc[view, index, 1]:
                raise ValueError(self._damage('image', view, index))
        return images

    def __getstate__(self) -> dict:
        # pickled to a spawned worker, a memory map would become a copy of the whole file
        return {**self.__dict__, '_arrays': None}

    def _open(self) -> SplitArrays:
        if self._arrays is None:
            self._arrays = open_arrays(self.folder, self.about)
        return self._arrays

    def _damage(self, array: str, view: int, row: int) -> str:
        return (
            f'feature cache: {self.folder / array}.npy is not what was written '
            f'for image {row}, view {view} (its checksum differs): it is damaged, or of '
            f'another cache. This finds and repairs what is wrong: {self._command()}'
        )

    def _random_view(self, index: int) -> int:
        views = self.about['views']
        with item_randomness(index):
            return int(np.random.randint(views)) if views > 1 else 0

    def _command(self) -> str:
        return read_manifest(self.feature_cache)[MADE]['command']

    def _checked_source(self, settings: dict) -> Any:
        source = DATASETS.build(deepcopy(settings))
        found, samples = describe_data(source, settings)
        cache, split = self.feature_cache, self.folder.name
        for name in ('dataset', 'classes'):
            check_pinned(cache, f'splits.{split}.{name}', self.about[name], found[name])
        check_pinned(cache, f'{split}/samples.json', self.samples, samples)
        return source

"""What a feature cache has to know of a dataset, to tell later whether it is still the same."""

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io.json_file import as_json

# Where the data lies is not what it is: a cache may be used on another machine.
# ``files`` of a few-shot set is a place too: its images are compared one by one.
_PLACES = ('data_root', 'files')

END_BYTES = 4096
"""Of a file's beginning and end that are looked at."""


def describe_data(dataset: Any, settings: dict) -> tuple[dict, list]:
    """Describe a dataset, without loading an image.

    Args:
        dataset: Built, with ``metainfo['classes']``, ``get_data_info`` and ``get_cat_ids``.
        settings: The config that it was built from, pipelines included.

    Returns:
        tuple: Of the manifest, ``dataset`` (the settings but for places), ``classes``,
        ``num_images`` and ``samples_sha256``; and the samples
        ``[[identity, label, what tells of a changed file, or None], ...]``. The identity of an
        image is its path below the folder of the images, or else whatever its annotation holds
        beside the label.

    Raises:
        TypeError: The dataset cannot tell its classes or annotations.
    """
    for name in ('get_data_info', 'get_cat_ids', 'metainfo'):
        if not hasattr(dataset, name):
            raise TypeError(
                f'{type(dataset).__name__} has no {name!r}, by which a feature cache knows '
                "images and classes; use a dataset like MMPretrain's own or FewShotDataset"
            )
    if 'classes' not in dataset.metainfo:
        raise TypeError(f"{type(dataset).__name__} has no class names: no metainfo['classes']")
    root = images_root_of(dataset)
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        label = int(dataset.get_cat_ids(index)[0])
        samples.append([image_identity(info, root), label, _file_mark(info)])
    samples = as_json(samples)
    about = dict(
        dataset=as_json(_without_places(settings)),
        classes=list(dataset.metainfo['classes']),
        num_images=len(samples),
        samples_sha256=samples_digest(samples),
    )
    return about, samples


def image_identity(info: dict, root: str) -> str | dict:
    """What names an image: its path below ``root``, or what is known beside its label.

    Args:
        info: The image's annotation, of ``get_data_info``.
        root: What :func:`images_root_of` its dataset says. A file elsewhere keeps its whole path.
    """
    if 'img_path' not in info:
        skipped = ('gt_label', 'sample_idx')
        return {key: value for key, value in info.items() if key not in skipped}
    path = Path(info['img_path'])
    below = root and path.is_relative_to(root)
    return (path.relative_to(root) if below else path).as_posix()


def images_root_of(dataset: Any) -> str:
    """Folder of the images of a dataset, or of the one that it wraps; '' where there is none.

    Below it a set is the same in every layout (``2750/AnnualCrop`` here, ``AnnualCrop`` there), so
    it goes before ``data_root``, which other packages' datasets have alone.
    """
    while dataset is not None:
        root = getattr(dataset, 'images_root', '') or getattr(dataset, 'data_root', '')
        if root:
            return root
        dataset = getattr(dataset, 'dataset', None)
    return ''


def _file_mark(info: dict) -> str | None:
    """Size, and a checksum of the two ends: cheap, and tells of images replaced or edited."""
    path = Path(info['img_path']) if 'img_path' in info else None
    if path is None or not path.is_file():
        return None
    with path.open('rb') as file:
        size = os.fstat(file.fileno()).st_size
        ends = file.read(END_BYTES)
        file.seek(max(size - END_BYTES, 0))
        ends += file.read(END_BYTES)
    return f'{size} bytes, crc32 {zlib.crc32(ends):08x}'


def _without_places(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        return {k: _without_places(v) for k, v in settings.items() if k not in _PLACES}
    if isinstance(settings, list | tuple):
        return [_without_places(each) for each in settings]
    return settings


def samples_digest(samples: list) -> str:
    """sha256 of ``[[identity, label, file], ...]``."""
    return hashlib.sha256(json.dumps(samples, separators=(',', ':')).encode()).hexdigest()

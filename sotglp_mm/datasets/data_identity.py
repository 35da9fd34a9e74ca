"""What identifies a dataset and its images, to tell later whether they are still the same."""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..io.json_file import as_json

# Where the data lies is not what it is: stored features may be used on another machine.
# ``files`` of a few-shot set is a place too: its images are compared one by one.
_PLACES = ('data_root', 'files')

END_BYTES = 4096
"""Of a file's beginning and end that are looked at."""


def describe_data(dataset: Any, settings: dict) -> tuple[dict, list]:
    """Describe a built dataset, without loading an image.

    Returns:
        tuple: Of the manifest, ``dataset`` (``settings`` but for places), ``classes``,
        ``num_images`` and ``samples_sha256``; and the samples
        ``[[image_identity, label, what tells of a changed file, or None], ...]``.
    """
    classes = class_names_of(dataset)
    root = images_root_of(dataset)
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        samples.append([image_identity(info, root), label_of(info, dataset), _file_mark(info)])
    samples = plain(samples)
    about = dict(
        dataset=plain(_without_places(settings)),
        classes=list(classes),
        num_images=len(samples),
        samples_sha256=samples_digest(samples),
    )
    return about, samples


def class_names_of(dataset: Any) -> tuple[str, ...]:
    """Class names of a dataset, or ``ValueError``."""
    classes = dataset.metainfo.get('classes')
    if not classes:
        raise ValueError(
            f'{type(dataset).__name__} has no class names; give them in its config, '
            "metainfo=dict(classes=['first', 'second', ...])"
        )
    return tuple(classes)


def label_of(info: dict, dataset: Any) -> int:
    """The one label in an image's annotation, or ``ValueError``."""
    label = info.get('gt_label')
    if isinstance(label, int | np.integer):
        return int(label)
    what = 'no label' if label is None else f'the labels {label!r}, it is a multi-label set'
    raise ValueError(
        f'{type(dataset).__name__}: image {info.get("img_path", "")} has {what}; expected one '
        'class for each image'
    )


def image_identity(info: dict, root: str) -> str | dict:
    """What names an image: its path below ``root``, or what is known beside its label.

    A file that is not below the root (of :func:`images_root_of`) keeps its whole path.
    """
    if 'img_path' not in info:
        skipped = ('gt_label', 'sample_idx')
        return plain({key: value for key, value in info.items() if key not in skipped})
    path = Path(info['img_path'])
    below = root and path.is_relative_to(root)
    return (path.relative_to(root) if below else path).as_posix()


def identities(dataset: Any, root: str = '') -> list[str]:
    """:func:`image_identity` of each image of a dataset, as text."""
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return [json.dumps(image_identity(info, root)) for info in infos]


def images_root_of(dataset: Any) -> str:
    """Folder of the images of a dataset, or of those that it wraps; '' where there is none.

    Below it a set is the same in every layout (``2750/AnnualCrop`` here, ``AnnualCrop`` there), so
    it goes before ``data_root``. Several sets have the folder that they share.
    """
    roots = {
        getattr(each, 'images_root', '') or getattr(each, 'data_root', '')
        for each in innermost(dataset)
    }
    return os.path.commonpath(roots) if all(roots) else ''


def innermost(dataset: Any) -> Iterator[Any]:
    """The datasets that load images, inside wrappers of MMEngine, MMPretrain and this package."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for each in inner:
        if each is None:
            yield dataset
        else:
            yield from innermost(each)


def plain(value: Any) -> Any:
    """As JSON gives it back: tuples are lists, pixels their hash, other objects their ``str``."""
    return as_json(value, default=_as_text)


def samples_digest(samples: list) -> str:
    """sha256 of ``[[identity, label, ...], ...]``."""
    return hashlib.sha256(json.dumps(samples, separators=(',', ':')).encode()).hexdigest()


def _as_text(value: Any) -> str | int | float:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor | Image.Image):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):  # its str leaves most of it out
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f'{value.dtype} {list(value.shape)}, sha256 {content}'
    return str(value)


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

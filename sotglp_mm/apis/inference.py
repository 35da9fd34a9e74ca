"""What prediction and pictures share: a trained model, and image files as its test pipeline."""

import glob
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmpretrain import ImageClassificationInferencer
from mmpretrain.registry import TRANSFORMS
from torch.utils.data import DataLoader, Dataset

from ..io.checkpoint_file import check_weights, naming_checkpoint
from ..io.image_files import IMAGE_SUFFIXES
from ..io.image_files import find_images as files_below
from ..io.names import shown
from ..utils.tables import printable

MAX_ASPECT = 500
"""Long edge of an image over its short edge, at most."""


class Failure(NamedTuple):
    """An image that could not be read, or a name that stands for no image."""

    path: str
    error: str


class Batch(NamedTuple):
    """Images that could be read, as the model takes them, and those that could not."""

    paths: list[str]
    data: dict | None
    failures: list[Failure]


def find_images(names: Sequence[str]) -> tuple[dict[str, str], list[Failure]]:
    """Files, all images below folders, and what globs match; each image once, in order.

    Returns by path the name below the folder that was given, and a failure for each name that
    stands for no image; ``FileNotFoundError`` where none stands for one.
    """
    found: dict[str, str] = {}
    known: set[str] = set()
    failures = []
    for name in names:
        try:
            images = _images_of_name(name)
        except OSError as error:
            failures.append(Failure(name, str(error)))
            continue
        for path, short in images:
            if os.path.realpath(path) not in known:
                found[str(path)] = short
            known.add(os.path.realpath(path))
    if not found:
        raise FileNotFoundError('; '.join(failure.error for failure in failures))
    return found, failures


def _images_of_name(name: str) -> list[tuple[Path, str]]:
    path = Path(name).expanduser()
    matches = [path]
    if not path.exists() and glob.has_magic(name):
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        if not matches:
            raise FileNotFoundError(f'no file matches {printable(name)!r}')
    elif not path.exists():
        raise FileNotFoundError(
            f'{printable(name)} does not exist; expected an image, a folder or a glob'
        )
    images = [image for match in matches for image in _images_of_path(match)]
    if not images:
        raise FileNotFoundError(
            f'{printable(name)} holds no image; images end with {", ".join(IMAGE_SUFFIXES)}, or '
            'are files that Pillow can open'
        )
    return images


def _images_of_path(path: Path) -> list[tuple[Path, str]]:
    if not path.is_dir():
        return [(path, path.name)]
    inside = files_below(path)
    if inside.images and inside.skipped:
        print(
            f'{printable(str(path))}: {len(inside.skipped)} files are no images and are not used: '
            f'{shown(inside.skipped)}',
            file=sys.stderr,
        )
    return [(path / image, image) for image in inside.images]


def image_pipeline(cfg: Config) -> list[dict]:
    """Transforms from loading to packing, as the config's test images go through them."""
    dataset = cfg.test_dataloader.dataset
    if dataset.type == 'CachedFeatureDataset':
        raise ValueError(
            'images are needed, and this config reads stored features; use the config that they '
            'were extracted with, it loads the same checkpoint'
        )
    return loading_pipeline(dataset)


def loading_pipeline(dataset: Any) -> list[dict]:
    """Transforms in a dataset's settings, from loading to packing."""
    pipeline = find_pipeline(dataset)
    if pipeline is None:
        raise ValueError(
            f'test_dataloader.dataset ({dataset.type}) has no pipeline; write there the '
            'transforms from LoadImageStrict to PackInputs'
        )
    if not any('Load' in transform['type'] for transform in pipeline):
        return [dict(type='LoadImageStrict'), *pipeline]  # the set draws its images
    return list(pipeline)


def find_pipeline(node: Any) -> list[dict] | None:
    """The first pipeline in a dataset's settings, if there is any."""
    if not isinstance(node, dict):
        return None
    return node.get('pipeline') or next(filter(None, map(find_pipeline, node.values())), None)


def load_inferencer(
    cfg: Config, checkpoint: str | Path | None, device: str | None = None
) -> ImageClassificationInferencer:
    """MMPretrain's inferencer with a trained model; images go through :func:`read_images`."""
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    cfg = deepcopy(cfg)
    cfg.test_dataloader.dataset.pipeline = image_pipeline(cfg)  # there the inferencer expects it
    if checkpoint is not None:
        check_weights(checkpoint)
    with naming_checkpoint(checkpoint):
        weights = str(checkpoint) if checkpoint else False
        return ImageClassificationInferencer(cfg, weights, device or get_device())


def read_images(
    cfg: Config, paths: Sequence[str], batch_size: int = 1, num_workers: int = 0
) -> Iterator[Batch]:
    """Images in order, through the test pipeline of the config."""
    workers = min(num_workers, len(paths), os.cpu_count() or 1)
    images = _Images(paths, image_pipeline(cfg))
    yield from DataLoader(images, batch_size, num_workers=workers, collate_fn=_collate)


class _Images(Dataset):
    """Items ``(path, what the pipeline returns, or a Failure)``."""

    def __init__(self, paths: Sequence[str], pipeline: Sequence[dict]):
        self.paths = list(paths)
        load, *others = [TRANSFORMS.build(dict(step)) for step in pipeline]
        self.pipeline = Compose([load, _refuse_needles, *others])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, dict | Failure]:
        path = self.paths[index]
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise ValueError('not a regular file, but a folder, a pipe or a device')
            return path, self.pipeline(dict(img_path=path))
        except Exception as error:  # whatever is wrong with an image, the rest goes on
            cause = error.__cause__ or error
            text = f'{type(cause).__name__}: {cause}'
            if type(cause).__name__ == 'UnidentifiedImageError':  # it names a buffer in memory
                text = 'not a picture that Pillow can read'
            return path, Failure(path, text)


def _refuse_needles(results: dict) -> dict:
    """Resizing makes the short edge some hundred pixels: the long one must not fill the memory."""
    height, width = results['img_shape']
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ValueError(
            f'it has {width} x {height} pixels, and one edge may be at most {MAX_ASPECT} times '
            'as long as the other; crop it'
        )
    return results


def _collate(items: list[tuple[str, dict | Failure]]) -> Batch:
    good = [(path, item) for path, item in items if not isinstance(item, Failure)]
    failures = [item for _, item in items if isinstance(item, Failure)]
    data = default_collate([item for _, item in good]) if good else None
    return Batch([path for path, _ in good], data, failures)


def failure_lines(failures: Sequence[Failure]) -> str:
    """What could not be read, and why."""
    lines = [f'{printable(path)}: {printable(error)}' for path, error in failures]
    return '\n  '.join([f'{len(failures)} of the images could not be read:', *lines])

"""The images that predict.py is asked for, as items of a DataLoader."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.dataset import Compose, default_collate
from mmpretrain.registry import TRANSFORMS

from ..io.own_images import IMAGE_SUFFIXES, image_files

MAX_ASPECT = 500
"""Long edge of an image over its short edge, at most."""


class NoImagesError(Exception):
    """What the user named holds no image."""


class Failure(NamedTuple):
    """An image that could not be read, or a name that stands for none."""

    path: str
    error: str


class Batch(NamedTuple):
    """Images that could be read, as the model takes them, and those that could not."""

    paths: list[str]
    data: dict | None
    failures: list[Failure]


def find_images(names: Sequence[str]) -> tuple[list[str], list[Failure]]:
    """Paths of files, of all images below folders, and of what globs match; each once, in order.

    A file that is named (or matched) is taken whatever its suffix: whether it is a picture shows
    when it is read.

    Returns:
        tuple: Paths, and a failure for each name that stands for no image.

    Raises:
        NoImagesError: None of them does.
    """
    found: dict[str, None] = {}
    failures = []
    for name in names:
        try:
            found.update(dict.fromkeys(map(str, images_of_name(name))))
        except NoImagesError as error:
            failures.append(Failure(name, str(error)))
    if not found:
        raise NoImagesError('; '.join(failure.error for failure in failures))
    return list(found), failures


def images_of_name(name: str) -> list[Path]:
    """What a file, a folder or a glob stands for.

    Raises:
        NoImagesError: Nothing.
    """
    path = Path(name).expanduser()
    matches = [path]
    if not path.exists() and glob.has_magic(name):
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        if not matches:
            raise NoImagesError(f'no file matches {name!r}')
    elif not path.exists():
        raise NoImagesError(f'{name} does not exist; expected an image, a folder or a glob')
    images = [image for match in matches for image in _images_of(match)]
    if not images:
        raise NoImagesError(f'{name} holds no image; images end with {", ".join(IMAGE_SUFFIXES)}')
    return images


def _images_of(path: Path) -> list[Path]:
    return [path / image for image in image_files(path)] if path.is_dir() else [path]


class ImagesToPredict:
    """A dataset of paths: ``(path, item of the pipeline or what went wrong)``.

    Args:
        paths: Of the images.
        pipeline: A config's test pipeline, from loading to packing.
    """

    def __init__(self, paths: Sequence[str], pipeline: Sequence[dict]):
        self.paths = list(paths)
        load, *others = [TRANSFORMS.build(dict(step)) for step in pipeline]
        self.pipeline = Compose([load, _refuse_needles, *others])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, dict | Failure]:
        path = self.paths[index]
        try:
            return path, self.pipeline(dict(img_path=path))
        except Exception as error:  # whatever a picture is wrong in: it is named, the rest goes on
            return path, Failure(path, _what_is_wrong(error.__cause__ or error))


def _refuse_needles(results: dict) -> dict:
    """Resizing makes the short edge some hundred pixels: the long one must not fill the memory."""
    height, width = results['img_shape']
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ValueError(
            f'it has {width} x {height} pixels, and one edge may be at most {MAX_ASPECT} times '
            'as long as the other; crop it'
        )
    return results


def _what_is_wrong(error: BaseException) -> str:
    if type(error).__name__ == 'UnidentifiedImageError':  # its text names a buffer in memory
        return 'not a picture that Pillow can read'
    return f'{type(error).__name__}: {error}'


def collate(items: list[tuple[str, dict | Failure]]) -> Batch:
    """A batch of what could be read."""
    good = [(path, item) for path, item in items if not isinstance(item, Failure)]
    failures = [item for _, item in items if isinstance(item, Failure)]
    data = default_collate([item for _, item in good]) if good else None
    return Batch([path for path, _ in good], data, failures)

"""Which files below a folder are images."""

import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageFile

IMAGE_SUFFIXES = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff'),
    *('.webp', '.gif'),
)
"""Taken for images without a look inside. Any other file is one if Pillow can open it."""

PARTIAL = ('.part', '.partial', '.crdownload', '.download', '.tmp')
"""What downloads leave behind when they are interrupted."""


class FoundImages(NamedTuple):
    """Paths relative to the folder, sorted."""

    images: list[str]
    skipped: list[str]  # no images, or none that Pillow reads here; hidden files are left out


def find_images(folder: Path) -> FoundImages:
    """All files below a folder but for hidden ones, as images or as skipped.

    Links to folders are followed, but for those that lead back to a folder they lie in. A link
    to nowhere with the name of an image counts as an image, so that it is reported as missing.
    """
    images: list[str] = []
    skipped: list[str] = []
    for inner, folders, files in os.walk(folder, followlinks=True):
        here = Path(inner)
        folders[:] = [name for name in folders if _is_to_be_read(folder, here / name)]
        for path in [here / name for name in files if not name.startswith('.')]:
            listed = images if _looks_like_an_image(path) else skipped
            listed.append(path.relative_to(folder).as_posix())
    return FoundImages(sorted(images), sorted(skipped))


def image_files(folder: Path) -> list[str]:
    """The images of :func:`find_images`."""
    return find_images(folder).images


def can_be_opened(path: Path) -> bool:
    """Whether Pillow recognises the content of a regular file; it is not decoded."""
    if not path.is_file():
        return False
    try:
        with Image.open(path) as image:
            # Pillow knows these formats by name, and cannot decode them
            return image.format != 'MPEG' and not isinstance(image, ImageFile.StubImageFile)
    except Image.DecompressionBombError:  # an image all right; loading it says what is wrong
        return True
    except Exception:  # plugins raise whatever they like
        return False


def _looks_like_an_image(path: Path) -> bool:
    if path.name.lower().endswith(PARTIAL):
        return False
    if path.name.lower().endswith(IMAGE_SUFFIXES):
        return path.is_file() or not path.exists()  # else a pipe or a device
    return can_be_opened(path)


def _is_to_be_read(top: Path, folder: Path) -> bool:
    if folder.name.startswith('.'):
        return False
    if not folder.is_symlink():
        return True
    target = folder.resolve()
    above = (parent for parent in folder.parents if parent.is_relative_to(top))
    # as they were come by, other links included: two may lead to each other's folder
    return not any(parent.resolve().is_relative_to(target) for parent in above)

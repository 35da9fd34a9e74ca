"""CoOp's fixed split lists: beside the images, or else those that come with the package."""

import json
import lzma
from pathlib import Path

from ..class_names.resolve import class_names_of_split
from ..io.json_file import read_json
from .known_sets import COOP
from .listed_images import check_inside

PACKAGED = Path(__file__).parent / 'splits'
"""Seven lists of CoOp, compressed; those of Food101 and SUN397 have to be fetched."""


def find_split_list(split_file: str, *folders: Path) -> Path:
    """The first of the folders' files that exists, or the package's own of that name.

    Raises:
        FileNotFoundError: There is none; the message says where to get it.
    """
    name = Path(split_file).name
    candidates = [*(folder / split_file for folder in folders), PACKAGED / f'{name}.xz']
    for path in candidates:
        if path.is_file():
            return path
    packaged = ', '.join(sorted(path.stem for path in PACKAGED.glob('*.xz')))
    raise FileNotFoundError(
        f'split file {folders[0] / split_file} does not exist, and is none of those that come '
        f'with the package ({packaged}). {COOP} says where to get it. Put it there, or set '
        'split_file.'
    )


def read_split_list(path: Path) -> tuple[dict[str, list], tuple[str, ...]]:
    """``{split: [[relative path, label, class name], ...]}``, and the class names by label.

    Raises:
        ValueError: The file is not of this form, or names a path outside of the images' folder.
    """
    if path.suffix == '.xz':
        splits = json.loads(lzma.decompress(path.read_bytes()))
    else:
        splits = read_json(path, 'split file')
    classes = class_names_of_split(splits, path)
    for rows in splits.values():
        check_inside(rows, f'split file {path}')
    return splits, classes

"""Reading a user's own images: which there are, and which class each belongs to."""

import csv
import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

IMAGE_SUFFIXES = (
    '.jpg',
    '.jpeg',
    '.png',
    '.ppm',
    '.bmp',
    '.pgm',
    '.tif',
    '.tiff',
    '.webp',
    '.gif',
)
SPLITS = ('train', 'val', 'test')
COLUMNS = ('path', 'label', 'split')


class OwnImages(NamedTuple):
    """What a folder or a file says."""

    source: Path
    """The folder or file that was read."""

    folder: Path
    """What the paths are relative to."""

    classes: tuple[str, ...]
    """Class names, sorted: a label is a position in them."""

    labelled: list[tuple[str, str]]
    """(relative path, class name) of every image."""

    splits: dict[str, list] | None
    """``{split: [[relative path, label, class name], ...]}``, or None where nothing says."""


def read_own_images(source: str | Path) -> OwnImages:
    """Read images in one of three forms.

    - ``folder/<class>/<image>``
    - ``folder/{train,test}/<class>/<image>``, and ``val`` if there is one
    - a ``.csv`` file with the columns ``path``, ``label`` (a class name) and, if wanted, ``split``
      ('train', 'val' or 'test'); paths are relative to the file's folder.

    Args:
        source: The folder, or the file.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It holds no images, or a line cannot be read.
    """
    source = Path(source).expanduser()
    if source.is_file():
        return _read_table(source)
    if not source.is_dir():
        raise FileNotFoundError(
            f'{source} does not exist; expected a folder with a folder of images for each class, '
            'or a .csv file with the columns path,label'
        )
    return _read_folder(source)


def image_files(folder: Path) -> list[str]:
    """Paths of the images below a folder, relative to it, sorted; hidden ones are left out.

    Links to folders are followed, but for those that lead back to a folder they lie in.
    """
    found = []
    for inner, folders, files in os.walk(folder, followlinks=True):
        here = Path(inner)
        folders[:] = [name for name in folders if _is_to_be_read(folder, here / name)]
        found += [
            (here / name).relative_to(folder).as_posix()
            for name in files
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith('.')
        ]
    return sorted(found)


def _is_to_be_read(top: Path, folder: Path) -> bool:
    if folder.name.startswith('.'):
        return False
    if not folder.is_symlink():
        return True
    target = folder.resolve()
    above = (parent for parent in folder.parents if parent.is_relative_to(top))
    # as they were come by, other links included: two may lead to each other's folder
    return not any(parent.resolve().is_relative_to(target) for parent in above)


def _read_folder(source: Path) -> OwnImages:
    has_splits = (source / 'train').is_dir() and (source / 'test').is_dir()
    paths = [PurePosixPath(path) for path in image_files(source)]
    depth = 2 if has_splits else 1
    stray = [path for path in paths if len(path.parts) <= depth]
    if stray or not paths:
        what = f'{len(stray)} images lie in no class, the first is {stray[0]}' if stray else ''
        form = '{train,test}/<class>/<image>' if has_splits else '<class>/<image>'
        raise ValueError(f'{source}: expected {form}; {what or "there is no image"}')
    rows = [(str(p), p.parts[depth - 1], p.parts[0] if has_splits else '') for p in paths]
    return _assemble(source, source, rows)


def _read_table(source: Path) -> OwnImages:
    if source.suffix.lower() != '.csv':
        raise ValueError(f'{source}: expected a folder, or a .csv file with columns path,label')
    try:
        with source.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file, strict=True)
            header = tuple(reader.fieldnames or ())
            if not {'path', 'label'} <= set(header) <= set(COLUMNS):
                raise ValueError(f'its columns are {header}; expected path,label or these + split')
            rows = [_row(row, reader.line_num, 'split' in header) for row in reader]
    except (ValueError, csv.Error) as error:
        raise ValueError(f'{source}: {error}') from error
    if not rows:
        raise ValueError(f'{source}: there is no line below the header')
    return _assemble(source, source.parent, rows)


def _row(row: dict, line: int, has_split: bool) -> tuple[str, str, str]:
    values = [row.get(name) for name in COLUMNS]
    expected = values if has_split else values[:2]
    if None in row or not all(value and value.strip() for value in expected):
        raise ValueError(f'line {line} does not have a value for each column')
    path, label, split = (value.strip() if value else '' for value in values)
    if has_split and split not in SPLITS:
        raise ValueError(f'line {line}: split {split!r} is not known; choose one of {SPLITS}')
    if Path(path).is_absolute() or '..' in Path(path).parts:
        raise ValueError(f"line {line}: {path!r} is not a path below the file's folder")
    return path, label, split


def _assemble(source: Path, folder: Path, rows: list[tuple[str, str, str]]) -> OwnImages:
    classes = tuple(sorted({label for _, label, _ in rows}))
    seen: dict[str, str] = {}
    for path, label, _ in rows:
        if seen.setdefault(path, label) != label:
            raise ValueError(f'{source}: {path} is both {seen[path]!r} and {label!r}')
    splits: dict[str, list] | None = None
    if rows[0][2]:
        splits = {split: [] for split in SPLITS}
        for path, label, split in rows:
            if split in splits:
                splits[split].append([path, classes.index(label), label])
    return OwnImages(source, folder, classes, [(p, label) for p, label, _ in rows], splits)

"""Reading a user's own images: which there are, which class and which split each belongs to."""

import csv
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .image_files import can_be_opened, find_images
from .names import composed, folded, is_text, shown

SPLITS = ('train', 'val', 'test')
SPLIT_OF = {
    **{'train': 'train', 'training': 'train', 'test': 'test', 'testing': 'test'},
    **{'val': 'val', 'valid': 'val', 'validation': 'val'},
}
"""Accepted names of splits, in any capitals."""

LIKE_A_SPLIT = re.compile(r'(^|[\W\d_])(train|test|val|dev|holdout)', re.IGNORECASE)
"""In names that splits often have, and that are not accepted: test_set, val2017, my_train."""

COLUMNS = ('path', 'label', 'split')
LAYOUTS = (
    'expected FOLDER/<class>/<image>; or FOLDER/{train,val,test}/<class>/<image>; or a .csv file '
    'with the columns path,label and, if wanted, split'
)


class Row(NamedTuple):
    """One image."""

    path: str  # relative to the folder
    label: str  # class name, in Unicode's composed form (NFC)
    split: str  # one of ``SPLITS``, or '' where nothing says


class OwnImages(NamedTuple):
    """What a folder or a file says."""

    source: Path  # the folder or file that was read
    folder: Path  # what the paths are relative to
    classes: tuple[str, ...]  # sorted: a label is a position in them
    labelled: list[tuple[str, str]]  # (relative path, class name) of every image
    splits: dict[str, list] | None  # {split: [[relative path, label, class name], ...]}
    notes: list[str]  # for the log: skipped files, repeated lines, val used as test


def read_own_images(source: str | Path, min_classes: int = 2) -> OwnImages:
    """Read images in one of three forms.

    - ``folder/<class>/<image>``
    - ``folder/{train,val,test}/<class>/<image>``. Names of splits may be in any capitals, and
      training, valid, validation and testing are understood. Where there is no test, val serves
      as test.
    - a ``.csv`` file with the columns ``path``, ``label`` (a class name) and, if wanted,
      ``split``; paths are relative to the file's folder. Exact repeats are dropped.

    A file is an image if Pillow can open it, whatever its name; others are skipped and counted.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It is in no such form, a class has no readable image, a line cannot be read,
            one image has two labels or two splits, or there are fewer than ``min_classes``.
    """
    source = Path(source).expanduser()
    if not source.exists():
        raise FileNotFoundError(
            f'{source} does not exist; expected a folder with a folder of images for each class, '
            'or a .csv file with the columns path,label'
        )
    return (_read_table if source.is_file() else _read_folder)(source, min_classes)


def _read_folder(source: Path, min_classes: int) -> OwnImages:
    found = find_images(source)
    splits = _split_folders(source)
    depth = 2 if splits else 1
    parts_of = {path: path.split('/') for path in found.images}
    stray = [path for path, parts in parts_of.items() if len(parts) <= depth]
    if stray or not found.images:
        what = f'{len(stray)} images lie in no class folder: {shown(stray)}'
        others = f'; skipped as no images: {shown(found.skipped)}' if found.skipped else ''
        raise ValueError(f'{source}: {what if stray else "there is no image"}{others}; {LAYOUTS}')
    if not splits:
        _check_no_splits(source, list(parts_of.values()))
    skipped = [path for path in found.skipped if '/' in path]  # at the top lie lists, notes, ...
    _check_class_folders(source, splits, depth, found.images, skipped)
    rows = [
        Row(path, composed(parts[depth - 1]), splits[parts[0]] if splits else '')
        for path, parts in parts_of.items()
    ]
    note = f'{len(skipped)} files are no images and are not used: {shown(skipped)}'
    return _assemble(source, source, rows, [note] if skipped else [], min_classes)


def _check_no_splits(source: Path, paths: list[list[str]]) -> None:
    """Classes that hold folders of splits, or are splits of another name."""
    inner = {part for parts in paths for part in parts[1:-1]}
    nested = sorted(name for name in inner if name.casefold() in SPLIT_OF)
    if nested:
        raise ValueError(
            f'{source}: class folders hold folders of splits, {shown(nested)}; {LAYOUTS}'
        )
    tops = {parts[0] for parts in paths}
    if all(len(parts) > 2 for parts in paths) and all(map(LIKE_A_SPLIT.search, tops)):
        raise ValueError(
            f'{source}: {shown(sorted(tops))} look like splits, and no split has such a name; '
            f'{LAYOUTS}. Rename them; or, where they are classes, write a .csv file.'
        )


def _split_folders(source: Path) -> dict[str, str]:
    """Split of each folder at the top; empty where these are classes."""
    names = [folder.name for folder in _folders(source)]
    splits = {name: SPLIT_OF[name.casefold()] for name in names if name.casefold() in SPLIT_OF}
    others = [name for name in names if name not in splits]
    if splits and others:
        raise ValueError(
            f'{source} has the folders of splits {shown(splits)} and beside them '
            f'{shown(others)}, which is no name of a split; {LAYOUTS}. Move the others away, or, '
            f'where {next(iter(splits))!r} is a class, choose another of these layouts.'
        )
    for split in SPLITS:
        same = [name for name, each in splits.items() if each == split]
        if len(same) > 1:
            raise ValueError(f'{source}: {shown(same)} all mean the split {split!r}; join them')
    return splits


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith('.'))


def _check_class_folders(
    source: Path, splits: Iterable[str], depth: int, images: list[str], skipped: list[str]
) -> None:
    """Every class has an image that Pillow can open, and a name of its own."""
    files: dict[str, list[str]] = {}
    for path in [*images, *skipped]:
        files.setdefault('/'.join(path.split('/')[:depth]), []).append(path)
    seen: dict[tuple[Path, str], Path] = {}
    for folder in [each for top in (list(splits) or ['.']) for each in _folders(source / top)]:
        name = folder.relative_to(source).as_posix()
        if not is_text(name):
            raise ValueError(
                f'{source}: the name of the class folder {name!r} is not UTF-8; rename it'
            )
        inside = files.get(name, [])
        if not any(can_be_opened(source / path) for path in inside):
            what = f'only {shown(inside)}, which Pillow cannot read' if inside else 'no image'
            raise ValueError(
                f'{source}: the class folder {name!r} has {what}; add images in a format that '
                'Pillow reads (JPEG, PNG, WebP, TIFF, ...), or remove the folder'
            )
        twin = seen.setdefault((folder.parent, composed(folder.name)), folder)
        if twin is not folder:
            raise ValueError(
                f'{source}: two folders are called {folder.name!r}, in two Unicode forms '
                f'({twin.name!a} and {folder.name!a}); join them'
            )


def _read_table(source: Path, min_classes: int) -> OwnImages:
    if source.suffix.lower() != '.csv':
        raise ValueError(f'{source}: expected a folder, or a .csv file with columns path,label')
    try:
        with source.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file, strict=True)
            header = tuple(reader.fieldnames or ())
            if not {'path', 'label'} <= set(header) <= set(COLUMNS):
                raise ValueError(f'its columns are {header}; expected path,label or these + split')
            lines = [_row(row, reader.line_num, 'split' in header) for row in reader]
    except (ValueError, csv.Error) as error:
        raise ValueError(f'{source}: {error}') from error
    if not lines:
        raise ValueError(f'{source}: there is no line below the header')
    rows = list(dict.fromkeys(lines))
    repeated = len(lines) - len(rows)
    notes = [f'{repeated} repeated lines are dropped'] if repeated else []
    seen: dict[str, Row] = {}
    for row in rows:
        first = seen.setdefault(row.path, row)
        if first.label != row.label:
            raise ValueError(f'{source}: {row.path} is both {first.label!r} and {row.label!r}')
        if first.split != row.split:
            raise ValueError(
                f'{source}: {row.path} is in two splits, {first.split!r} and {row.split!r}; one '
                'image belongs to one split'
            )
    return _assemble(source, source.parent, rows, notes, min_classes)


def _row(row: dict, line: int, has_split: bool) -> Row:
    values = [row.get(name) for name in COLUMNS]
    expected = values if has_split else values[:2]
    if None in row or not all(value and value.strip() for value in expected):
        raise ValueError(f'line {line} does not have a value for each column')
    path, label, split = (value.strip() if value else '' for value in values)
    if has_split and split.casefold() not in SPLIT_OF:
        raise ValueError(f'line {line}: split {split!r} is not known; choose one of {SPLITS}')
    if Path(path).is_absolute() or '..' in Path(path).parts:
        raise ValueError(f"line {line}: {path!r} is not a path below the file's folder")
    split = SPLIT_OF[split.casefold()] if has_split else ''
    return Row(posixpath.normpath(path), composed(label), split)


def _assemble(
    source: Path, folder: Path, rows: list[Row], notes: list[str], min_classes: int
) -> OwnImages:
    classes = tuple(sorted({row.label for row in rows}))
    if len(classes) < min_classes:
        raise ValueError(
            f'{source}: there is one class, {classes[0]!r}, and at least two are needed; {LAYOUTS}'
        )
    splits: dict[str, list] | None = None
    if rows[0].split:
        _check_names_across_splits(source, rows)
        splits = {split: [] for split in SPLITS}
        for path, label, split in rows:
            splits[split].append([path, classes.index(label), label])
        if splits['val'] and not splits['test']:
            splits['test'] = splits['val']
            notes.append('there is no split test, so val serves as test, too')
    labelled = [(row.path, row.label) for row in rows]
    return OwnImages(source, folder, classes, labelled, splits, notes)


def _check_names_across_splits(source: Path, rows: list[Row]) -> None:
    """Refuse a class that two splits write differently."""
    splits_of: dict[str, set[str]] = {}
    for row in rows:
        splits_of.setdefault(row.label, set()).add(row.split)
    alike: dict[str, str] = {}
    for name in sorted(splits_of):
        other = alike.setdefault(folded(name), name)
        if splits_of[other].isdisjoint(splits_of[name]):
            raise ValueError(
                f'{source}: the class {other!r} of {"/".join(sorted(splits_of[other]))} is '
                f'{name!r} in {"/".join(sorted(splits_of[name]))}: the names differ only in '
                'capitals, underscores or Unicode form. Give them one name.'
            )

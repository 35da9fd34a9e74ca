"""What a fuzzed reader is, and what several of them share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

CLASSES = ('ant', 'bee', 'crab')
COUNT = 4
"""Images of a class."""


class Target(NamedTuple):
    """A reader."""

    file: str
    """What is spoilt, in the target's folder."""

    kind: str
    """'json', 'text', 'binary' or 'archive'."""

    prepare: Callable[[Path], None]
    """Write the good files into a folder."""

    read: Callable[[Path], Any]
    """Read them as a run does."""

    wrong: Callable[[Path, Any], str | None]
    """What is wrong with an answer, judged by plain json, csv or text; None: nothing."""

    cost: int = 1
    """So many times longer it may take, and so many times fewer inputs it gets."""


def plain_lines(file: Path) -> list[str]:
    """Of a text file, whatever wrote it."""
    text = file.read_bytes().decode('utf-8-sig').replace('\r\n', '\n').replace('\r', '\n')
    return [line.strip() for line in text.split('\n') if line.strip()]


def write_pictures(folder: Path) -> list[list]:
    """Empty files that stand for images, and their rows."""
    rows = []
    for label, name in enumerate(CLASSES):
        (folder / 'images' / name).mkdir(parents=True)
        for number in range(COUNT):
            (folder / 'images' / name / f'{number}.jpg').touch()
            rows.append([f'{name}/{number}.jpg', label, name])
    (folder.parent / 'outside.jpg').touch()
    return rows


def rows_of(dataset: Any) -> list[tuple[str, int, str]]:
    """What a dataset would train on: path, label and class name."""
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    names = dataset.metainfo['classes']
    return [(info['img_path'], info['gt_label'], names[info['gt_label']]) for info in infos]


def wrong_rows(folder: Path, rows: list[tuple], expected: list[tuple]) -> str | None:
    """A path outside, or rows that are not those of the file."""
    for path, label, name in rows:
        if folder.resolve() not in Path(path).resolve().parents:
            return f'{path} is outside'
        if type(label) is not int or not isinstance(name, str):
            return f'label {label!r} is called {name!r}'
    return None if rows == expected else f'{rows[:2]} ... instead of {expected[:2]} ...'

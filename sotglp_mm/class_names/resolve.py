"""Class names: a list that the package knows, a file, a folder of images, or given."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ..io.checkpoint_file import read_checkpoint
from ..io.files import read_lines
from ..io.json_file import read_json
from ..io.names import composed, folded, shown
from ..io.own_images import read_own_images

FROM_DATASET = 'dataset'
"""As ``class_names`` of a config's head: those of the training set; a config is needed for it."""

CLASS_LISTS = Path(__file__).parent / 'lists'

KNOWN_PAIRS = ('missile', 'sunglasses')
"""Each is the name of two of ImageNet's classes."""


def resolve_class_names(class_names: str | Sequence[str]) -> tuple[str, ...]:
    """Class names in label order, in Unicode's composed form.

    Args:
        class_names: The names themselves; the name of a list that the package knows (a file of
            ``sotglp_mm/class_names/lists``); the path of a text file, one name a line; the
            path of a CoOp split file (``split_zhou_*.json``); the folder or ``.csv`` file of
            :func:`read_own_images`; or the path of a checkpoint (``.pth``) of a run, which keeps
            the names that it was trained with.

    Raises:
        FileNotFoundError: It is neither a known list nor a file.
        ValueError: It is 'dataset', there are no names, or an empty one, or a checkpoint that
            keeps none.
    """
    names = _read_class_names(class_names) if isinstance(class_names, str) else tuple(class_names)
    if not names:
        raise ValueError(f'class_names={class_names!r} holds no names; at least one is needed')
    for label, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f'class_names: class {label} has no usable name, got {name!r}')
    return tuple(map(composed, names))


def _read_class_names(source: str) -> tuple[str, ...]:
    path = CLASS_LISTS / f'{source}.txt'
    if not path.is_file():
        path = Path(source).expanduser()
    if path.is_dir() or path.suffix == '.csv':
        return read_own_images(path).classes
    if source == FROM_DATASET and not path.is_file():
        raise ValueError(
            "class_names='dataset' is understood for the one head of a config (model.head), by "
            "sotglp's own commands and sotglp_mm.apis.load_config, which read the names from the "
            'training set. Here, give the names as a list, or the path of a text file with one '
            'name a line'
        )
    if not path.is_file():
        known = ', '.join(sorted(file.stem for file in CLASS_LISTS.glob('*.txt')))
        raise FileNotFoundError(
            f'class_names={source!r} is neither a list that the package knows ({known}) nor a '
            'file; give the names as a list, or the path of a text file with one name a line. On '
            'a machine without the data, name the checkpoint, it keeps them: '
            'head.class_names=<checkpoint>.pth'
        )
    if path.suffix == '.pth':
        if names := class_names_of_checkpoint(path):
            return names
        raise ValueError(
            f"{path} keeps no class names (meta['dataset_meta']['classes']); give "
            'class_names as a list, or the path of a text file with one name a line'
        )
    if path.suffix == '.json':
        return class_names_of_split(read_json(path, 'split file'), path)
    return tuple(read_lines(path))


def class_names_of_checkpoint(path: str | Path) -> tuple[str, ...] | None:
    """Class names that a run of MMEngine kept in its checkpoint, in label order; None if none."""
    kept: Any = read_checkpoint(path, map_location='meta')
    for key in ('meta', 'dataset_meta', 'classes'):
        kept = kept.get(key) if isinstance(kept, dict) else None
    if kept is None or kept == [] or kept == ():
        return None
    if not isinstance(kept, (list, tuple)) or not all(isinstance(name, str) for name in kept):
        raise ValueError(f'{path} keeps class names that are none: {repr(kept)[:60]}')
    return tuple(kept)


def class_difference(
    ours: Sequence[str], theirs: Sequence[str], owner: str, other: str
) -> str | None:
    """Where two lists of class names differ first, in words; None if nowhere.

    Underscores count as spaces, and Unicode's forms of one text as one, as in prompts.
    ``owner`` and ``other`` say whose the names are.
    """
    for label, (one, another) in enumerate(zip(ours, theirs)):
        if composed(one).replace('_', ' ') != composed(another).replace('_', ' '):
            same = folded(one) == folded(another)
            why = ', the same but for capitals or Unicode form' if same else ''
            return f'label {label} is {one!r} for {owner} and {another!r} in {other}{why}'
    if len(ours) == len(theirs):
        return None
    longer, who = (ours, owner) if len(ours) > len(theirs) else (theirs, other)
    label = min(len(ours), len(theirs))
    return (
        f'{owner} has {len(ours)} classes and {other} {len(theirs)}; '
        f'label {label}, {longer[label]!r}, is known to {who} alone'
    )


def class_names_of_split(splits: dict, path: Path) -> tuple[str, ...]:
    """Class names, in label order, of a CoOp split file, which was read from ``path``."""
    if not isinstance(splits, dict) or not all(isinstance(v, list) for v in splits.values()):
        raise ValueError(
            f'{path} is not a CoOp split file: expected '
            '{"train"|"val"|"test": [[relative path, label, class name], ...]}'
        )
    names: dict[int, str] = {}
    for split, rows in splits.items():
        for row_number, row in enumerate(rows):
            types = [type(value) for value in row] if isinstance(row, list) else []
            if types != [str, int, str] or row[1] < 0:
                raise ValueError(
                    f'{path}: row {row_number} of {split!r} is {row!r}; expected '
                    '[relative path, label >= 0, class name]'
                )
            _, label, name = row
            if names.setdefault(label, name) != name:
                raise ValueError(
                    f'{path}: label {label} is called {names[label]!r} and, in row {row_number} '
                    f'of {split!r}, {name!r}; one label has one name'
                )
    missing = next(label for label in range(len(names) + 1) if label not in names)
    if missing < len(names):
        raise ValueError(f'{path}: labels must be 0..C-1, but no row has label {missing}')
    return tuple(names[label] for label in range(len(names)))


def warn_of_equal_prompts(class_names: Sequence[str], tokens: Sequence[Sequence[int]]) -> None:
    """Name the classes that have equal tokens, but for ImageNet's two pairs.

    Capitals, HTML entities and blanks are lost in CLIP's tokenizer, and underscores before it.
    """
    by_tokens: dict[tuple, list[str]] = {}
    for name, ids in zip(class_names, tokens, strict=True):
        by_tokens.setdefault(tuple(ids), []).append(name)
    groups = [names for names in by_tokens.values() if len(names) > 1]
    groups = [names for names in groups if set(names) - set(KNOWN_PAIRS)]
    if groups:
        print_log(
            f'CLIP cannot tell {len(groups)} groups of classes apart, their names have the same '
            f'tokens: {"; ".join(shown(names) for names in groups[:3])}. Give them other names.',
            logger='current',
            level=logging.WARNING,
        )

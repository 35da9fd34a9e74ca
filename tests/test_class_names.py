"""Where class names come from, and what is wrong with those that are refused."""

import json
from pathlib import Path

import open_clip
import pytest
from mini_checkpoints import write_checkpoint

from sotglp_mm.class_names import resolve
from sotglp_mm.class_names.resolve import (
    CLASS_LISTS,
    class_difference,
    class_names_of_checkpoint,
    class_names_of_split,
    resolve_class_names,
)


def test_where_names_come_from(tmp_path: Path):
    assert resolve_class_names('imagenet') == tuple(open_clip.IMAGENET_CLASSNAMES)
    names = resolve_class_names('dtd')
    assert len(names) == len(set(names)) == 47
    assert list(names) == sorted(names)
    assert names[:2] == ('banded', 'blotchy')
    assert resolve_class_names(['cat', 'sea lion', 'cat']) == ('cat', 'sea lion', 'cat')
    file = tmp_path / 'split_zhou_Pets.json'
    rows = {'train': [['a.jpg', 2, 'cow'], ['b.jpg', 0, 'cat']], 'test': [['c.jpg', 1, 'dog']]}
    file.write_text(json.dumps(rows))
    assert resolve_class_names(str(file)) == ('cat', 'dog', 'cow')
    (tmp_path / 'empty.txt').write_text('\n\n')
    for source in ([], str(tmp_path / 'empty.txt')):
        with pytest.raises(ValueError, match='holds no names'):
            resolve_class_names(source)


def test_neither_a_list_nor_a_file():
    with pytest.raises(
        FileNotFoundError, match=r"class_names='imagnet' is neither .*\(.*dtd.*imagenet.*\) nor a"
    ):
        resolve_class_names('imagnet')


@pytest.mark.parametrize('bad', ['', '  ', None, 3])
def test_an_unusable_name_is_pointed_at(bad):
    with pytest.raises(ValueError, match=rf'class 1 has no usable name, got {bad!r}'):
        resolve_class_names(['cat', bad])


@pytest.mark.parametrize(
    ('splits', 'culprit'),
    [
        (
            {'train': [['a', 0, 'cat']], 'val': [['b', 1, 'dog'], ['c', 0, 'kitten']]},
            r"label 0 is called 'cat' and, in row 1 of 'val', 'kitten'",
        ),
        ({'train': [['a', 0, 'cat'], ['b', 2, 'cow']]}, r'no row has label 1'),
        ({'train': [['a', 0, 'cat'], ['b', '1', 'dog']]}, r"row 1 of 'train' is \['b', '1', 'dog"),
        ([['a', 0, 'cat']], 'is not a CoOp split file'),
    ],
)
def test_split_files_that_are_refused(splits, culprit: str):
    with pytest.raises(ValueError, match=rf'split\.json.*{culprit}'):
        class_names_of_split(splits, Path('split.json'))


def checkpoint(file: Path, meta: object) -> str:
    return str(write_checkpoint(file, meta=meta))


def test_a_checkpoint_keeps_the_names_of_its_run_or_says_that_it_does_not(tmp_path: Path):
    names = ('cat', 'sea lion')
    file = checkpoint(tmp_path / 'epoch_1.pth', dict(dataset_meta=dict(classes=names)))
    assert resolve_class_names(file) == names
    with pytest.raises(ValueError, match=r'bare\.pth keeps no class names'):
        resolve_class_names(checkpoint(tmp_path / 'bare.pth', dict(epoch=1)))
    with pytest.raises(FileNotFoundError, match=r'gone\.pth'):
        class_names_of_checkpoint(tmp_path / 'gone.pth')
    for meta in ([1], 'text', dict(dataset_meta='abc'), dict(dataset_meta=[1])):
        assert class_names_of_checkpoint(checkpoint(tmp_path / 'other.pth', meta)) is None
    for classes in (5, 'abc', [1, 2], {'a': 1}, ''):
        file = checkpoint(tmp_path / 'other.pth', dict(dataset_meta=dict(classes=classes)))
        with pytest.raises(ValueError, match=r'other\.pth keeps class names that are none: '):
            class_names_of_checkpoint(file)


def test_a_file_that_is_no_text_is_named(tmp_path: Path):
    (tmp_path / 'names.txt').write_bytes(b'c\xe4t')
    with pytest.raises(ValueError, match=r'names\.txt is not a text file'):
        resolve_class_names(str(tmp_path / 'names.txt'))


def test_a_line_ends_where_an_editor_ends_it(tmp_path: Path):
    """A byte order mark is no letter of the first name, a form feed no end of a line."""
    file = tmp_path / 'names.txt'
    file.write_bytes('\ufeffant\r\nbee\u2028maya\n\n crab\x0cleg \n'.encode())
    assert resolve_class_names(str(file)) == ('ant', 'bee\u2028maya', 'crab\x0cleg')


def test_names_are_brought_to_one_unicode_form():
    assert resolve_class_names(['cafe\u0301', 'tea']) == ('caf\u00e9', 'tea')
    assert class_difference(['cafe\u0301'], ['caf\u00e9'], 'a', 'b') is None
    told = class_difference(['Crane'], ['crane'], 'the head', 'the dataset')
    assert told.endswith("'crane' in the dataset, the same but for capitals or Unicode form")


def test_names_that_clip_cannot_tell_apart_are_named(logged):
    said = logged('class_names.resolve')
    encode = open_clip.SimpleTokenizer().encode
    names = ['Crane', 'sea_lion', 'R&D', 'dog', 'crane', 'sea lion', 'R&amp;D', 'missile']
    resolve.warn_of_equal_prompts(names, [encode(n.replace('_', ' ')) for n in names])
    assert 'cannot tell 3 groups' in said[0]
    assert "'Crane', 'crane'; 'sea_lion', 'sea lion'; 'R&D', 'R&amp;D'" in said[0]
    for known in sorted(CLASS_LISTS.glob('*.txt')):  # the published lists are as they are
        names = resolve_class_names(known.stem)
        resolve.warn_of_equal_prompts(names, [encode(n.replace('_', ' ')) for n in names])
    resolve.warn_of_equal_prompts(['owl', 'owl'], [[1], [1]])
    assert len(said) == 2 and "'owl', 'owl'" in said[1]

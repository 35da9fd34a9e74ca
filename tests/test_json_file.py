"""JSON is read, or the file that is none is named; and the first difference of two is found."""

from pathlib import Path

import pytest

from sotglp_mm.io.json_file import differences, read_json, read_record


def test_numbers_may_stay_text(tmp_path: Path):
    (tmp_path / 'a.json').write_text('[72.60, 3]')
    assert read_json(tmp_path / 'a.json') == [72.6, 3]
    assert read_json(tmp_path / 'a.json', parse_float=str) == ['72.60', 3]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'{', r'is not JSON: Expecting'),
        (b'"\xff"', r'is not JSON: .*utf-8'),
        (b'9' * 5000, r'is not JSON: .*digits'),
        (b'[' * 100_000, r'cannot be read: its lists are nested too deeply'),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes, message: str):
    file = tmp_path / 'a.json'
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf'^split file {file} {message}'):
        read_json(file, 'split file')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', ' is not JSON: .*'),
        ('[1]', ' holds a list, expected an object'),
        ('{"name": "a"}', ": 'shots' is missing, expected int"),
        ('{"name": 3, "shots": 1}', ": 'name' is 3, expected str"),
        ('{"name": "a", "shots": true}', ": 'shots' is True, expected int"),
    ],
)
def test_a_record_has_what_it_should(tmp_path: Path, content: str, message: str):
    file = tmp_path / 'a.json'
    file.write_text('{"name": "a", "shots": 1, "more": []}')
    assert read_record(file, dict(name=str, shots=int), '') == dict(name='a', shots=1, more=[])
    file.write_text(content)
    with pytest.raises(ValueError, match=rf'^record {file}{message}; remove it$'):
        read_record(file, dict(name=str, shots=int), 'remove it', 'record')


@pytest.mark.parametrize(
    ('pinned', 'found', 'expected'),
    [
        (dict(a=1, b=[2, 3]), dict(a=1, b=[2, 3]), None),
        (dict(a=1, b=2), dict(a=1, b=3), ('k.b', '2', '3')),
        (dict(a=[dict(c=1)]), dict(a=[dict(c=2)]), ('k.a.0.c', '1', '2')),
        (dict(a=1), dict(a=1, b=2), ('k.b', 'absent', '2')),
        (dict(a=1, b=2), dict(a=1), ('k.b', '2', 'absent')),
        ([1, 2], [1], ('k.1', '2', 'absent')),
        ([], {}, ('k', '[]', '{}')),
    ],
)
def test_differences_are_found(pinned, found, expected):
    assert differences(pinned, found, 'k') == ([] if expected is None else [expected])

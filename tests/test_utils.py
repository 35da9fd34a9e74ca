"""Small parts: settings that are mistyped, tables, JSON files."""

from pathlib import Path

import pytest
from rich.cells import cell_len

from sotglp_mm.io.json_file import differences, read_json, read_record
from sotglp_mm.utils.settings import checked_settings
from sotglp_mm.utils.tables import format_table, markdown_table, print_table, printable


class Parent:
    def __init__(self, colour: str = 'red', **kwargs):
        self.colour = colour


@checked_settings
class Strict:
    """With two settings."""

    def __init__(self, num_shots: int, seed: int = 1):
        self.num_shots, self.seed = num_shots, seed


@checked_settings
class Open(Parent):
    def __init__(self, size: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.size = size


@checked_settings
class Closed(Parent):
    def __init__(self, size: int = 1):
        super().__init__(colour='blue')
        self.size = size


def test_known_settings_pass():
    built = Strict(4, seed=2)
    assert (built.num_shots, built.seed) == (4, 2)
    assert Strict.__doc__ == 'With two settings.'


@pytest.mark.parametrize(
    ('part', 'wrong', 'message'),
    [
        (Strict, 'num_shot', "did you mean 'num_shots'\\? It takes: num_shots, seed"),
        (Strict, 'zebra', 'It takes: num_shots, seed'),
        # the parents' settings count where they are handed on
        (Open, 'color', "did you mean 'colour'\\? It takes: size, colour"),
        (Closed, 'colour', 'It takes: size'),
    ],
)
def test_an_unknown_setting_gets_a_hint_and_the_list(part: type, wrong: str, message: str):
    assert Open(colour='green').colour == 'green'
    with pytest.raises(TypeError, match=f"^{part.__name__} has no setting '{wrong}'; {message}$"):
        part(**{wrong: 4})


def test_a_subclass_may_take_more():
    class Derived(Strict):
        def __init__(self, extra: int, **kwargs):
            super().__init__(**kwargs)
            self.extra = extra

    assert Derived(extra=3, num_shots=4).num_shots == 4
    with pytest.raises(TypeError, match='unexpected keyword'):
        Derived(extra=3, num_shots=4, zebra=True)


HEAD = ['image', 'label', 'prob.']


def test_columns_are_aligned_and_numbers_stand_right():
    text = format_table(HEAD, [['a.png', '大熊猫', '0.5'], ['longer name.png', '[bold]', '10.25']])
    head, rule, first, second = text.splitlines()
    assert {cell_len(line) for line in (head, rule, first, second)} == {cell_len(rule)}
    assert first.endswith('  0.5') and second.endswith('10.25')
    assert cell_len(first[: first.index('大')]) == second.index('[bold]')


@pytest.mark.parametrize('width', [30, 60])
def test_a_narrow_terminal_folds_cells_and_loses_nothing(width: int):
    path = '/'.join(f'folder{number}' for number in range(12))
    text = format_table(HEAD, [[path, 'fox', '0.5']], width)
    assert max(map(len, text.splitlines())) <= width
    joined = ''.join(line.split('  ')[0] for line in text.splitlines()[2:])
    assert joined.replace(' ', '').replace('fox', '').replace('0.5', '') == path


def test_what_is_no_terminal_gets_whole_lines(capsys):
    print_table(HEAD, [['x' * 300, 'fox', '0.5']])
    assert 'x' * 300 in capsys.readouterr().out


def test_markdown():
    assert markdown_table(['set', 'top-1'], [['a|b', '71.2 ± 0.4'], ['c', '-']]).splitlines() == [
        *('| set | top-1 |', '| --- | --: |'),
        *(r'| a\|b | 71.2 ± 0.4 |', '| c | - |'),
    ]
    assert markdown_table(['set'], []) == '| set |\n| --- |\n'


def test_escapes():
    name = 'caf\udce9\n\x1b[31mé.png'
    assert printable(name) == r'caf\udce9\n\x1b[31mé.png'
    format_table(['image'], [[name]]).encode('utf-8')


def test_numbers_may_stay_text(tmp_path: Path):
    (tmp_path / 'a.json').write_text('[72.60, 3]')
    assert read_json(tmp_path / 'a.json') == [72.6, 3]
    assert read_json(tmp_path / 'a.json', parse_float=str) == ['72.60', 3]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'{', r'is not JSON: Expecting'),
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
        ('[1]', ' holds a list, expected an object'),
        ('{"name": "a"}', ": 'shots' is missing, expected int"),
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

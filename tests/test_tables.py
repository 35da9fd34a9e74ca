"""Tables: nothing is cut, wide characters are aligned, odd names cannot break a line."""

import pytest
from rich.cells import cell_len

from sotglp_mm.utils.tables import format_table, markdown_table, print_table, printable

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

"""One warning of an import is dropped, even of a module that sets the filters; others are not."""

import sys
import warnings
from pathlib import Path

import pytest

from sotglp_mm.quiet_import import quiet_import

LOUD = """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter('always')
    warnings.warn('the old way is deprecated, and goes', DeprecationWarning)
    {more}
"""


@pytest.mark.parametrize('more', ['', "warnings.warn('the disk is full', UserWarning)"])
def test_other_warnings_are_seen(tmp_path: Path, monkeypatch, more: str):
    name = f'loud_{len(more)}'
    (tmp_path / f'{name}.py').write_text(LOUD.format(more=more))
    monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        quiet_import(name, 'the old way is deprecated')
    assert name in sys.modules
    assert [str(each.message) for each in caught] == (['the disk is full'] if more else [])


def test_a_module_that_is_not_there_is_left_to_those_who_need_it():
    quiet_import('torch.no_such_module', 'the old way')

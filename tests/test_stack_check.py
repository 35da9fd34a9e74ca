"""An installation that cannot work is refused before the first heavy import, with what to do."""

import configparser
import logging
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest
from mini_runs import REPO
from packaging.requirements import Requirement

from sotglp_mm.utils import stack_check
from sotglp_mm.utils.stack_check import check_stack

GOOD = {
    'torch': '2.14.1+cpu',
    'mmengine': '0.10.7',
    'mmpretrain': '1.2.0',
    'mmcv-lite': '2.2.0',
    'open_clip_torch': '3.3.0',
}
FORKS = {
    'torch': '2.6.0a0+git1',
    'onedl-mmengine': '0.10.12',
    'onedl-mmpretrain': '1.3.6',
    'onedl-mmcv': '2.3.6',
    'open_clip_torch': '3',
}
SETUP_CFG = configparser.ConfigParser()
SETUP_CFG.read(REPO / 'setup.cfg')


def required(section: str = 'options', name: str = 'install_requires') -> list[Requirement]:
    lines = SETUP_CFG[section][name].splitlines()
    return [Requirement(line) for line in lines if line and line[0] != '#']


@pytest.fixture
def environment(monkeypatch):
    """Pretend that these distributions, and no others, are installed."""

    def pretend(versions: dict, modules: tuple = ('mmcv', 'pkg_resources')) -> None:
        def version(name: str) -> str:
            if name not in versions:
                raise PackageNotFoundError(name)
            return versions[name]

        extras = [f"{each}; extra == 'test'" for each in ('torch<1', 'coverage>99')]
        lines = [str(each) for each in required()] + extras
        monkeypatch.setattr(stack_check, 'requires', lambda name: lines)
        monkeypatch.setattr(stack_check, 'version', version)
        monkeypatch.setattr(stack_check, 'find_spec', lambda name: name in modules or None)
        # what Python 3.14 dropped; a test of its own is about that
        monkeypatch.setattr(stack_check.pkgutil, 'find_loader', None, raising=False)

    return pretend


@pytest.mark.parametrize(
    ('versions', 'modules'),
    [
        (GOOD, ('mmcv', 'pkg_resources')),
        (FORKS, ('mmcv',)),
        ({}, ('mmcv', 'pkg_resources')),  # no records
        ({**GOOD, 'mmcv': None}, ('mmcv', 'pkg_resources')),  # of an interrupted removal
    ],
)
def test_accepts(environment, caplog, versions, modules):
    check_stack()  # this one
    environment(versions, modules)
    check_stack()
    assert not caplog.records


def test_accepts_a_checkout_that_pip_does_not_know(environment, monkeypatch):
    environment({**GOOD, 'torch': '1.13'})

    def unknown(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(stack_check, 'requires', unknown)
    check_stack()


@pytest.mark.parametrize(
    ('first', 'second'),
    [
        ('mmengine', 'onedl-mmengine'),
        ('mmpretrain', 'onedl-mmpretrain'),
        ('mmcv-lite', 'mmcv'),
        ('mmcv-lite', 'onedl-mmcv'),
    ],
)
def test_two_that_write_the_same_files(environment, first, second):
    environment({**GOOD, second: '9.9'})
    with pytest.raises(ImportError, match='both installed and write the same files') as error:
        check_stack()
    assert f'{first} {GOOD[first]}' in str(error.value) and f'{second} 9.9' in str(error.value)
    command = re.search(r'pip uninstall -y ([\w -]+)', str(error.value))[1]
    assert set(command.split()) == {first, second}


@pytest.mark.parametrize(
    ('stack', 'name', 'version', 'wanted'),
    [
        (GOOD, 'torch', '2.5.1+cu121', 'torch<3,>=2.6'),
        (GOOD, 'mmengine', '0.9.1', 'mmengine<0.11,>=0.10.4'),
        (GOOD, 'open_clip_torch', '2.32.0', 'open_clip_torch<4,>=3.0'),
        (FORKS, 'onedl-mmengine', '0.10.3', 'onedl-mmengine<0.11,>=0.10.12'),
        (GOOD, 'torch', '3.0.0', None),
        (GOOD, 'open_clip_torch', '4.0.0rc1', None),
        (FORKS, 'onedl-mmengine', '1.0', None),
    ],
)
def test_too_old_is_refused_and_newer_than_tried_logged(
    environment, caplog, stack, name, version, wanted
):
    environment({**stack, name: version})
    if wanted:
        told = (
            f"{name} {version} is too old, expected {wanted}: `pip install --upgrade '{wanted}'`"
        )
        with pytest.raises(ImportError, match=re.escape(told)):
            check_stack()
        return
    check_stack()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f'{name} {version} is newer than what sotglp_mm was tried with' in record.message


def test_originals_where_python_lacks_what_they_call(environment, monkeypatch):
    environment(GOOD)
    monkeypatch.delattr(stack_check.pkgutil, 'find_loader')
    with pytest.raises(ImportError, match=r'find_loader.*`pip install onedl-mmengine'):
        check_stack()
    environment(FORKS)
    monkeypatch.delattr(stack_check.pkgutil, 'find_loader')
    check_stack()


def test_all_problems_at_once(environment):
    environment({**GOOD, 'torch': '1.13', 'onedl-mmpretrain': '1.3.6'}, modules=('mmcv',))
    with pytest.raises(ImportError) as error:
        check_stack()
    assert all(word in str(error.value) for word in ('torch 1.13', 'onedl-', 'setuptools<81'))
    environment({name: GOOD[name] for name in GOOD if name != 'mmcv-lite'}, modules=())
    with pytest.raises(ImportError, match=r"pip install 'sotglp_mm\[standalone\]'"):
        check_stack()


def test_the_oldest_stack_is_the_lower_bounds():
    lines = (REPO / 'tests' / 'oldest_stack.txt').read_text().splitlines()
    pinned = {each.name: each for each in map(Requirement, lines[2:])}
    asked = required() + required('options.extras_require', 'standalone')
    for requirement in asked:
        if requirement.marker and not requirement.marker.evaluate({'python_version': '3.10'}):
            continue
        bounds = [bound.version for bound in requirement.specifier if bound.operator == '>=']
        pin = pinned[requirement.name].specifier
        assert all(pin.contains(bound) for bound in bounds) and str(pin).startswith('==')
        assert bounds or requirement.name == 'setuptools'


def test_import_refuses_before_torch(tmp_path):
    """As it happens to a user: two distributions, and one sentence."""
    for name in ('mmengine', 'onedl_mmengine'):
        folder = tmp_path / f'{name}-0.10.7.dist-info'
        folder.mkdir()
        (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 0.10.7\n')
    paths = os.pathsep.join([str(tmp_path), str(REPO)])
    code = """
import sys
try:
    import sotglp_mm
except ImportError as error:
    print(error, 'torch' in sys.modules)
"""
    printed = subprocess.check_output(
        [sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': paths}, text=True
    )
    assert printed.startswith('sotglp_mm cannot run in this environment: mmengine 0.10.7 and ')
    assert printed.endswith('False\n')

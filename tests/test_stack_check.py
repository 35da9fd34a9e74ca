"""An installation that cannot work is refused before the first heavy import, with what to do."""

import configparser
import logging
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace
from unittest.mock import Mock

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

    def pretend(versions: dict, modules: tuple = ('mmcv', 'pkg_resources', 'loader')) -> None:
        def version(name: str) -> str:
            if name not in versions:
                raise PackageNotFoundError(name)
            return versions[name]

        extras = [f"{each}; extra == 'test'" for each in ('torch<1', 'coverage>99')]
        lines = [str(each) for each in required()] + extras
        monkeypatch.setattr(stack_check, 'requires', lambda name: lines)
        monkeypatch.setattr(stack_check, 'version', version)
        monkeypatch.setattr(stack_check, 'find_spec', lambda name: name in modules or None)
        # of the standard library until Python 3.14
        pkgutil = SimpleNamespace(find_loader=None) if 'loader' in modules else SimpleNamespace()
        monkeypatch.setattr(stack_check, 'pkgutil', pkgutil)

    return pretend


def test_accepts(environment, monkeypatch, caplog):
    check_stack()  # this one
    environment(FORKS, modules=('mmcv',))
    check_stack()
    # no records; that of an interrupted removal
    for versions in (GOOD, {}, {**GOOD, 'mmcv': None}):
        environment(versions)
        check_stack()
    environment({**GOOD, 'torch': '1.13'})  # a checkout that pip does not know
    monkeypatch.setattr(stack_check, 'requires', Mock(side_effect=PackageNotFoundError))
    check_stack()
    assert not caplog.records


TOO_OLD = "{} is too old, expected {}: `pip install --upgrade '{}'`"


@pytest.mark.parametrize(
    ('stack', 'name', 'version', 'wanted'),
    [
        (GOOD, 'torch', '2.5.1+cu121', 'torch<3,>=2.6'),
        (GOOD, 'open_clip_torch', '2.32.0', 'open_clip_torch<4,>=3.0'),
        (FORKS, 'onedl-mmengine', '0.10.3', 'onedl-mmengine<0.11,>=0.10.12'),
        (GOOD, 'open_clip_torch', '4.0.0rc1', None),
        (FORKS, 'onedl-mmengine', '1.0', None),
    ],
)
def test_too_old_is_refused_and_newer_than_tried_logged(
    environment, caplog, stack, name, version, wanted
):
    environment({**stack, name: version})
    if wanted:
        with pytest.raises(ImportError) as error:
            check_stack()
        assert TOO_OLD.format(f'{name} {version}', wanted, wanted) in str(error.value)
        return
    check_stack()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f'{name} {version} is newer than what sotglp_mm was tried with' in record.message


LIGHT = {name: GOOD[name] for name in GOOD if name != 'mmcv-lite'}


@pytest.mark.parametrize(
    ('versions', 'modules', 'told'),
    [
        *(
            (
                {**GOOD, second: '9.9'},
                ('mmcv', 'pkg_resources', 'loader'),
                [f'{first} {GOOD[first]}', f'{second} 9.9', 'installed and write the same files'],
            )
            for first, second in [
                ('mmengine', 'onedl-mmengine'),
                ('mmpretrain', 'onedl-mmpretrain'),
                ('mmcv-lite', 'mmcv'),
                ('mmcv-lite', 'onedl-mmcv'),
            ]
        ),
        (GOOD, ('mmcv', 'pkg_resources'), ['find_loader, which', '`pip install onedl-mmengine']),
        (LIGHT, (), ["pip install 'sotglp_mm[standalone]'"]),
        # all problems at once
        (
            {**GOOD, 'torch': '1.13', 'onedl-mmpretrain': '1.3.6'},
            ('mmcv',),
            ['torch 1.13', '`pip uninstall -y mmpretrain onedl-mmpretrain`', 'setuptools<81'],
        ),
    ],
)
def test_what_cannot_work(environment, versions, modules, told):
    environment(versions, modules)
    with pytest.raises(ImportError) as error:
        check_stack()
    assert [each for each in told if each not in str(error.value)] == []


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

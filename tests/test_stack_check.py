"""An installation that cannot work is refused before the first heavy import, with what to do."""

import configparser
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest
from mini_runs import REPO

from sotglp_mm import stack_check
from sotglp_mm.utils.stack_check import OLDEST, SAME_FILES, TOO_NEW, check_stack

GOOD = {
    'torch': '2.14.1+cpu',
    'mmengine': '0.10.7',
    'mmpretrain': '1.2.0',
    'mmcv-lite': '2.2.0',
    'open_clip_torch': '3.3.0',
}
FORKS = {
    'torch': '2.4.0a0+git1',
    'onedl-mmengine': '0.10.12',
    'onedl-mmpretrain': '1.3.6',
    'onedl-mmcv': '2.3.6',
    'open_clip_torch': '3',
}


@pytest.fixture
def environment(monkeypatch):
    """Pretend that these distributions, and no others, are installed."""

    def pretend(versions: dict, modules: tuple = ('mmcv', 'pkg_resources')) -> None:
        def version(name: str) -> str:
            if name not in versions:
                raise PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(stack_check, 'version', version)
        monkeypatch.setattr(stack_check, 'find_spec', lambda name: name in modules or None)

    return pretend


@pytest.mark.parametrize('versions', [GOOD, FORKS, {}], ids=['openmmlab', 'forks', 'no records'])
def test_accepts(environment, versions):
    environment(versions)
    check_stack()


def test_accepts_this_one():
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
    ('name', 'old'),
    [
        ('torch', '2.3.1+cu121'),
        ('mmengine', '0.9.1'),
        ('mmpretrain', '1.1.1'),
        ('open_clip_torch', '2.32.0'),
    ],
)
def test_too_old(environment, name, old):
    environment({**GOOD, name: old})
    expected = f'{name} {old} is too old, expected {OLDEST[name]} or newer'
    with pytest.raises(ImportError, match=re.escape(expected)):
        check_stack()


@pytest.mark.parametrize(
    ('stack', 'name', 'new'),
    [
        (GOOD, 'torch', '3.0.0'),
        (GOOD, 'mmengine', '0.11.0'),
        (GOOD, 'mmpretrain', '2.0.0'),
        (GOOD, 'open_clip_torch', '4.0.0rc1'),
        (GOOD, 'mmcv-lite', '2.4.0'),
        (FORKS, 'onedl-mmcv', '2.5'),
        (FORKS, 'onedl-mmengine', '1.0'),
        (FORKS, 'onedl-mmpretrain', '1.4.0'),
    ],
)
def test_too_new(environment, stack, name, new):
    environment({**stack, name: new})
    with pytest.raises(ImportError, match=rf'{name} {new} is newer than .*before') as error:
        check_stack()
    assert f"`pip install '{name}<{TOO_NEW[name]}'`" in str(error.value)


@pytest.mark.parametrize('name', ['mmcv', 'mmcv-lite'])
def test_too_old_mmcv(environment, name):
    others = {each: GOOD[each] for each in GOOD if each != 'mmcv-lite'}
    environment({**others, name: '1.7.2'})
    with pytest.raises(
        ImportError, match=rf'{name} 1\.7\.2 is too old, expected 2\.0\.0 or newer'
    ):
        check_stack()


def test_too_old_fork_is_named_as_it_is_installed(environment):
    environment({**FORKS, 'onedl-mmengine': '0.10.3'})
    with pytest.raises(ImportError, match=r"--upgrade 'onedl-mmengine>=0\.10\.4,<0\.11'"):
        check_stack()


def test_all_problems_at_once(environment):
    environment({**GOOD, 'torch': '1.13', 'onedl-mmpretrain': '1.3.6'}, modules=('mmcv',))
    with pytest.raises(ImportError) as error:
        check_stack()
    assert all(word in str(error.value) for word in ('torch 1.13', 'onedl-', 'setuptools<81'))


def test_forks_do_without_pkg_resources(environment):
    environment(FORKS, modules=('mmcv',))
    check_stack()


def test_no_mmcv_at_all(environment):
    environment({name: GOOD[name] for name in GOOD if name != 'mmcv-lite'}, modules=())
    with pytest.raises(ImportError, match='pip install mmcv-lite'):
        check_stack()


def test_leftovers_of_an_interrupted_removal_do_not_count(environment):
    environment({**GOOD, 'mmcv': None})
    check_stack()


def requirements(text: str) -> dict[str, str]:
    """Names, and what is asked of them."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = [re.fullmatch(r'([\w-]+)(.*)', line) for line in lines if line and line[0] != '#']
    return {pair[1]: pair[2] for pair in pairs}


@pytest.fixture(scope='module')
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(REPO / 'setup.cfg')
    return parser


def test_oldest_versions_are_those_of_setup_cfg(setup_cfg):
    asked = requirements(setup_cfg['options']['install_requires'])
    assert {name: f'>={OLDEST[name]},<{TOO_NEW[name]}' for name in OLDEST} == {
        name: asked[name] for name in OLDEST
    }
    assert not [name for name, what in asked.items() if not re.match('>=|<', what)]
    mmcv = requirements(setup_cfg['options.extras_require']['standalone'])['mmcv-lite']
    assert mmcv.endswith(f',<{TOO_NEW["mmcv-lite"]}')
    assert f"'mmcv-lite{mmcv}'" in (REPO / 'Makefile').read_text()


def test_requirements_of_the_forks_are_the_same(setup_cfg):
    expected = requirements(setup_cfg['options']['install_requires'])
    expected |= requirements(setup_cfg['options.extras_require']['test'])
    for name in ('mmengine', 'mmpretrain'):
        fork = SAME_FILES[name][1]
        expected.pop(name)
        expected[fork] = f'>={OLDEST[name]},<{TOO_NEW[fork]}'  # forks have numbers of their own
    asked, needs_of_mmcv = (REPO / 'tests' / 'onedl_stack.txt').read_text().split('# what mmcv-')
    assert requirements(asked) == expected
    assert not set(expected) & set(requirements(needs_of_mmcv.partition('\n')[2]))


def test_the_oldest_stack_is_the_lower_bounds(setup_cfg):
    asked = requirements(setup_cfg['options']['install_requires'])
    asked |= requirements(setup_cfg['options.extras_require']['standalone'])
    pinned = requirements((REPO / 'tests' / 'oldest_stack.txt').read_text())
    assert set(asked) <= set(pinned)
    bounds = {name: what[2:].partition(',')[0] for name, what in asked.items() if '>=' in what}
    assert set(asked) - set(bounds) == {'setuptools'}
    for name, bound in bounds.items():
        assert pinned[name] in (f'=={bound}', f'=={bound}.0')  # 2.4 is 2.4.0


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

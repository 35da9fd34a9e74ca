"""The API reference builds without a warning, and has all public names of all rooms."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mini_runs import REPO

ROOMS = ('models', 'datasets', 'evaluation', 'engine', 'functional', 'visualization')


@pytest.fixture(scope='module')
def documented(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Dotted names that the reference has an entry for."""
    folder: Path = tmp_path_factory.mktemp('docs')
    command = [sys.executable, '-m', 'sphinx', '--fail-on-warning', '--keep-going', '--quiet']
    done = subprocess.run(
        [*command, '-b', 'html', str(REPO / 'docs'), str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(re.findall(r'<dt class="sig[^>]*id="([^"]+)"', (folder / 'api.html').read_text()))


@pytest.mark.parametrize('room', ROOMS)
def test_every_public_name_is_there(documented: set[str], room: str):
    names = importlib.import_module(f'sotglp_mm.{room}').__all__
    missing = {f'sotglp_mm.{room}.{name}' for name in names} - documented
    assert names and not missing


def test_what_contributors_import_is_there(documented: set[str]):
    text = (REPO / 'CONTRIBUTING.md').read_text()
    found = re.findall(r'^from (sotglp_mm\.\S+) import (\w+)$', text, re.MULTILINE)
    assert len(found) >= 3
    assert {f'{module}.{name}' for module, name in found} <= documented


def test_every_module_of_the_ground_floor_is_there(documented: set[str]):
    files = {file.stem for file in (REPO / 'sotglp_mm').glob('*.py')} - {'__init__', 'version'}
    found = {name.split('.')[1] for name in documented}
    assert files <= found

"""The API reference builds without a warning, and has all public names."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mini_runs import REPO

PACKAGES = (
    *('apis', 'campaign', 'datasets', 'engine', 'evaluation', 'functional', 'models'),
    'visualization',
)


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


@pytest.mark.parametrize('package', PACKAGES)
def test_every_public_name_is_there(documented: set[str], package: str):
    names = importlib.import_module(f'sotglp_mm.{package}').__all__
    missing = {f'sotglp_mm.{package}.{name}' for name in names} - documented
    assert names and not missing


def test_what_extensions_import_is_there(documented: set[str]):
    text = (REPO / 'docs' / 'extend.md').read_text()
    found = re.findall(r'^from (sotglp_mm\.\S+) import (\w+)$', text, re.MULTILINE)
    assert len(found) >= 3
    assert {f'{module}.{name}' for module, name in found} <= documented

"""The guides and the API reference build without a warning; the reference has all public names."""

import importlib
import io
import re
from pathlib import Path

import pytest
from mini_runs import REPO
from sphinx.application import Sphinx

PACKAGES = (
    *('apis', 'campaign', 'datasets', 'engine', 'evaluation', 'functional', 'models'),
    'visualization',
)


@pytest.fixture(scope='module')
def documented(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Dotted names that the reference has an entry for."""
    folder: Path = tmp_path_factory.mktemp('docs')
    # everything is read and every reference looked up; no page is written
    docs, said = REPO / 'docs', io.StringIO()
    app = Sphinx(docs, docs, folder, folder / 'doctrees', 'dummy', status=None, warning=said)
    app.build()
    assert not said.getvalue()
    return set(app.env.domaindata['py']['objects'])


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

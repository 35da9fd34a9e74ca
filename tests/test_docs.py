"""What the texts tell to do, done as a reader would; docs/ builds, and has all public names."""

import csv
import importlib
import io
import json
import os
import re
import subprocess
import sys
import textwrap

import pandas as pd
import pytest
from mini_runs import REPO
from sphinx.application import Sphinx
from text_blocks import blocks_of, run_blocks, section

DOCS = REPO / 'docs'
EXAMPLES = {
    'A dataset': 'accuracy/top1',
    'A tower': 'CLIP small_clip.json from small_clip.pt',
    'An allocation': 'loss_local',
}


@pytest.mark.parametrize('title', EXAMPLES)
def test_examples_of_extending_run(tmp_path, title):
    for name in ('configs', 'tools'):  # what a contributor has in front of them
        (tmp_path / name).symlink_to(REPO / name)
    blocks = blocks_of(section((DOCS / 'extend.md').read_text(), title))
    printed = run_blocks(blocks, tmp_path, search=REPO)
    assert EXAMPLES[title] in printed
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()


def test_every_make_target_is_listed():
    text = (REPO / 'CONTRIBUTING.md').read_text()
    listed = set(re.findall(r'^\| `(make [\w-]+)`', text, re.MULTILINE))
    targets = re.search(r'^\.PHONY: (.+)$', (REPO / 'Makefile').read_text(), re.MULTILINE)[1]
    assert listed == {f'make {target}' for target in targets.split()}


def test_tutorial(installed, tmp_path):
    """Block by block, from the installed wheel, in an empty folder."""
    blocks = blocks_of((DOCS / 'tutorial.md').read_text())
    printed = run_blocks(blocks, tmp_path, search=installed)
    assert (tmp_path / 'sotglp').resolve() == installed / 'sotglp_mm' / '.mim'
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['accuracy/top1'] > 80, 'chance is 17 %'
    assert {'accuracy_global/top1', 'accuracy_local/top1'} <= set(metrics)
    with (tmp_path / 'found.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['label'] for row in rows] == ['blue triangle', 'red square'], rows
    seen = sorted(path.name for path in (tmp_path / 'seen').iterdir())
    assert seen == ['first.png', 'second.png']
    assert 'epoch_3.pth' in printed


def test_quickstart(installed, tmp_path):
    """The notebook's cells in one process."""
    notebook = json.loads((DOCS / 'quickstart.ipynb').read_text())
    cells = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
    assert not any(cell['outputs'] for cell in cells)
    code = [''.join(cell['source']) for cell in cells]
    script = '\n'.join(text for text in code if not text.startswith('%pip'))
    assert script.count('\n') > 40
    script += "\npredictions.to_csv('predictions.csv')\n"
    script = f"if __name__ == '__main__':\n{textwrap.indent(script, '    ')}"
    (tmp_path / 'cells.py').write_text(script)
    done = subprocess.run(
        [sys.executable, 'cells.py'],
        **dict(cwd=tmp_path, capture_output=True, text=True),
        env={**os.environ, 'PYTHONPATH': str(installed), 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stderr
    predictions = pd.read_csv(tmp_path / 'predictions.csv')
    assert list(predictions['label']) == ['blue triangle', 'red square']
    assert 'held-out images are predicted right' in done.stdout
    for file in ('seen/first.png', 'shapes.onnx', 'shapes_classifier/model.safetensors'):
        assert (tmp_path / file).stat().st_size


PACKAGES = (
    *('apis', 'campaign', 'datasets', 'engine', 'evaluation', 'functional', 'models'),
    'visualization',
)


@pytest.fixture(scope='module')
def documented(tmp_path_factory) -> set[str]:
    """Dotted names that the reference has an entry for."""
    folder = tmp_path_factory.mktemp('docs')
    # everything is read and every reference looked up; no page is written
    said = io.StringIO()
    app = Sphinx(DOCS, DOCS, folder, folder / 'doctrees', 'dummy', status=None, warning=said)
    app.build()
    assert not said.getvalue()
    return set(app.env.domaindata['py']['objects'])


@pytest.mark.parametrize('package', PACKAGES)
def test_every_public_name_is_there(documented: set[str], package: str):
    names = importlib.import_module(f'sotglp_mm.{package}').__all__
    missing = {f'sotglp_mm.{package}.{name}' for name in names} - documented
    assert names and not missing


def test_what_extensions_import_is_there(documented: set[str]):
    text = (DOCS / 'extend.md').read_text()
    found = re.findall(r'^from (sotglp_mm\.\S+) import (\w+)$', text, re.MULTILINE)
    assert len(found) >= 3
    assert {f'{module}.{name}' for module, name in found} <= documented

"""docs/quickstart.ipynb, cell by cell, from the installed wheel, in an empty folder."""

import json
import os
import subprocess
import sys

import pandas as pd
from mini_runs import REPO

NOTEBOOK = json.loads((REPO / 'docs' / 'quickstart.ipynb').read_text())


def test_quickstart(installed, tmp_path):
    cells = [cell for cell in NOTEBOOK['cells'] if cell['cell_type'] == 'code']
    assert not any(cell['outputs'] for cell in cells)
    code = [''.join(cell['source']) for cell in cells]
    script = '\n'.join(text for text in code if not text.startswith('%pip'))
    assert script.count('\n') > 40
    (tmp_path / 'cells.py').write_text(
        f"if __name__ == '__main__':\n{indented(script)}\n"
        "    predictions.to_csv('predictions.csv')\n"
    )
    done = subprocess.run(
        [sys.executable, 'cells.py'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(installed), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    predictions = pd.read_csv(tmp_path / 'predictions.csv')
    assert list(predictions['label']) == ['blue triangle', 'red square']
    assert 'held-out images are predicted right' in done.stdout
    for file in ('seen/first.png', 'shapes.onnx', 'shapes_classifier/model.safetensors'):
        assert (tmp_path / file).stat().st_size


def indented(text: str) -> str:
    return '\n'.join(f'    {line}' for line in text.splitlines())

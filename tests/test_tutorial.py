"""docs/tutorial.md, block by block, from the installed wheel, in an empty folder."""

import csv
import json

from mini_runs import REPO
from text_blocks import blocks_of, run_blocks

TEXT = (REPO / 'docs' / 'tutorial.md').read_text()


def test_tutorial(installed, tmp_path):
    printed = run_blocks(blocks_of(TEXT), tmp_path, search=installed)
    assert (tmp_path / 'sotglp').resolve() == installed / 'sotglp_mm' / '.mim'
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['accuracy/top1'] > 80, 'chance is 17 %'
    assert {'accuracy_global/top1', 'accuracy_local/top1'} <= set(metrics)
    with (tmp_path / 'found.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['label'] for row in rows] == ['blue triangle', 'red square'], rows
    assert sorted(path.name for path in (tmp_path / 'seen').iterdir()) == [
        'first.png',
        'second.png',
    ]
    assert 'epoch_3.pth' in printed

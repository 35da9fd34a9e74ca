"""The embedded demo, one epoch of it; drawn images in the place of EuroSAT's."""

import json
from pathlib import Path

from mini_data import write_set
from mini_runs import run_tool


def test_demo_writes_its_summary(tmp_path: Path):
    done = run_tool(['demo.py', '--work-dir', tmp_path / 'demo', '--epochs', 1], tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / 'demo' / 'summary.json').read_text())
    assert set(summary) == {'scenes', 'digits'}
    for found in summary.values():
        assert set(found['zero_shot']) == {'top1'}
        assert {'top1', 'top1_global', 'top1_local'} <= set(found['sotglp'])
    # the classes of the scenes have made-up names: CLIP alone can only guess among 24
    assert summary['scenes']['zero_shot']['top1'] < 12
    # even one epoch teaches something that CLIP alone does not know
    gain = summary['scenes']['sotglp']['top1'] - summary['scenes']['zero_shot']['top1']
    assert gain > 3
    assert 'written to' in done.stdout


def test_demo_on_files(tmp_path: Path):
    write_set(tmp_path, 'eurosat', num_classes=10)
    command = ['demo.py', '--real', '--work-dir', tmp_path / 'demo', '--epochs', 1]
    done = run_tool(command, tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / 'demo' / 'real' / 'summary.json').read_text())['eurosat']
    assert list(summary) == ['zero_shot', 'coop', 'sotglp', 'sotglp_plus']
    assert 'top1_local' in summary['sotglp'] and 'top1_local' not in summary['coop']
    for name in ('zero-shot', 'CoOp', 'SOT-GLP+'):
        assert name in done.stdout

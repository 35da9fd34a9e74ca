"""The embedded demo, one epoch of it; drawn images in the place of EuroSAT's."""

import json
from importlib import import_module
from pathlib import Path

from mini_data import write_set
from mini_runs import LOADERS

from sotglp_cli import main
from sotglp_mm.apis import load_config

run_demo = import_module('sotglp_mm.demo.run_demo')


def test_demo_writes_its_summary(tmp_path: Path, monkeypatch, capsys):
    def on_a_fourth(file, options, work_dir):
        """Of the test images, and in this process."""
        few = {f'{name}.num_workers': 0 for name in LOADERS}
        few |= {f'{name}.persistent_workers': False for name in LOADERS}
        few |= {f'{name}.dataset.indices': [*range(0, 957, 4)] for name in LOADERS[1:]}
        return load_config(file, {**options, **few}, work_dir)

    monkeypatch.setattr(run_demo, 'load_config', on_a_fourth)
    assert main(['demo', '--work-dir', str(tmp_path / 'demo'), '--epochs', '1']) == 0
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
    assert 'written to' in capsys.readouterr().out


def test_demo_on_files(tmp_path: Path, monkeypatch, capsys):
    write_set(tmp_path, 'eurosat', num_classes=10)
    monkeypatch.setenv('DATA', str(tmp_path))
    assert main(['demo', '--real', '--work-dir', str(tmp_path / 'demo'), '--epochs', '1']) == 0
    summary = json.loads((tmp_path / 'demo' / 'real' / 'summary.json').read_text())['eurosat']
    assert list(summary) == ['zero_shot', 'coop', 'sotglp', 'sotglp_plus']
    assert 'top1_local' in summary['sotglp'] and 'top1_local' not in summary['coop']
    printed = capsys.readouterr().out
    assert all(name in printed for name in ('zero-shot', 'CoOp', 'SOT-GLP+'))

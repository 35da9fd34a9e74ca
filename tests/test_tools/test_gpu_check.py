"""The check of a CUDA card, on the CPU: each part reports, and a failure is one."""

import sys
from types import SimpleNamespace

import pytest
import torch
from mini_runs import REPO
from process_group import run_script

sys.path.insert(0, str(REPO / 'tools'))

import gpu_check

SHORT = """
_base_ = ['{base}']
train_dataloader = dict(dataset=dict(num_shots=4), num_workers=0)
val_dataloader = dict(dataset=dict(indices=20), num_workers=0)
"""


def test_every_part_on_the_cpu(tmp_path, monkeypatch, capfd):
    demo = tmp_path / 'short.py'
    demo.write_text(SHORT.format(base=gpu_check.DEMO))
    monkeypatch.setattr(gpu_check, 'DEMO', demo)

    def run(command, env, **_):
        """The training, without the seconds that imports take."""
        return run_script([str(word) for word in command[1:]], env)

    monkeypatch.setattr(gpu_check, 'subprocess', SimpleNamespace(run=run))
    model = REPO / 'sotglp_mm' / 'demo' / 'assets' / 'sotglp_demo.json'
    small = ['--device', 'cpu', '--model', str(model), '--classes', '3', '--batch', '2']
    small += ['--repeats', '1', '--epochs', '1', '--compiler', 'eager']
    assert gpu_check.main(small) == 0
    printed = capfd.readouterr().out
    assert f'PyTorch: {torch.__version__}' in printed and '% top-1' in printed
    assert printed.count('| released_tiny ') == printed.count('| released_tiny_noproj ') == 3
    assert printed.count('\n| fp32 | ') == printed.count('\n| bf16 | ') == 1  # training steps
    assert printed.endswith('Everything ran.\n')


@pytest.mark.parametrize('error', [0.1, float('nan')])
def test_an_error_beyond_the_bound_is_a_failure(monkeypatch, capsys, error):
    parts = {'Parity': gpu_check.parity, 'Two processes': gpu_check.two_processes}
    monkeypatch.setattr(gpu_check, 'PARTS', parts)
    monkeypatch.setattr(gpu_check, 'parity_errors', lambda *arguments: [0.0, error])
    assert gpu_check.main(['--device', 'cpu']) == 1
    printed = capsys.readouterr().out
    assert 'FAILED: ArithmeticError: beyond the bound of 0.001' in printed
    assert '## Two processes' in printed and printed.endswith('Failed: Parity\n')

"""Pretraining runs end to end, and the shipped weights reach what is written beside them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / 'sotglp_mm' / 'demo' / 'assets'
FILES = [f'sotglp_demo{end}' for end in ('.json', '.safetensors', '_bpe.txt.gz', '.report.json')]
_TINY = """
    --steps 3 --settle-steps 3 --batch 12 --width 64 --layers 2 --text-width 64 --text-layers 1
    --eval-scenes 8 --threads 1 --workers 0 --precision fp32
"""
TINY = _TINY.split()


def run_tool(name, *arguments):
    """Standard output of a tool, run as a user runs it."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'}
    command = [sys.executable, str(ROOT / 'tools' / name), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, timeout=300
    ).stdout


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tiny')
    run_tool('pretrain_demo_clip.py', '--out', folder, *TINY)
    return folder


@pytest.fixture(scope='module')
def shipped():
    """The shipped weights measured anew: 300 scenes that neither training nor report drew."""
    text = run_tool('demo_clip_report.py', ASSETS, '--scenes', 300, '--seed', 77)
    return json.loads(text[text.index('{') :])


def test_writes_its_files(tiny):
    assert sorted(path.name for path in tiny.iterdir()) == sorted(FILES)
    report = json.loads((tiny / 'sotglp_demo.report.json').read_text())
    assert report['settings']['steps'] == 3
    assert {'train', 'settle'} == set(report['stages'])
    assert {'versions', 'reached'} <= set(report)
    assert 0 <= report['reached']['pointing_vv'] <= 1


def test_same_seed_same_weights(tiny, tmp_path):
    run_tool('pretrain_demo_clip.py', '--out', tmp_path, *TINY)
    for name in ('sotglp_demo.safetensors', 'sotglp_demo_bpe.txt.gz', 'sotglp_demo.json'):
        assert (tiny / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_second_stage_shortens_the_start_of_the_residual_stream(tiny, tmp_path):
    first = (*TINY, '--settle-steps', '0')
    run_tool('pretrain_demo_clip.py', '--out', tmp_path / 'first', *first)
    weights = tmp_path / 'first' / 'sotglp_demo.safetensors'
    norms = [load_file(file)['visual.ln_pre.weight'].norm() for file in (weights, tiny / FILES[1])]
    assert norms[1] < 0.3 * norms[0]
    # from the weights of the first stage, the second one does the same
    run_tool('pretrain_demo_clip.py', '--out', tmp_path / 'then', *TINY, '--settle-only', weights)
    assert (tmp_path / 'then' / FILES[1]).read_bytes() == (tiny / FILES[1]).read_bytes()


def test_shipped_files_are_small_and_fit_together():
    assert sum((ASSETS / name).stat().st_size for name in FILES) < 12e6
    config = json.loads((ASSETS / 'sotglp_demo.json').read_text())
    bpe_path = ASSETS / config['text_cfg']['tokenizer_kwargs']['bpe_path']
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(bpe_path))
    assert tokenizer.vocab_size == config['text_cfg']['vocab_size']
    model = open_clip.model.CLIP(**config)
    model.load_state_dict(load_file(ASSETS / 'sotglp_demo.safetensors'))


def test_shipped_weights_point(shipped):
    assert shipped['pointing_vv'] >= 0.85
    assert shipped['pointing_centre_vv'] > 0.7
    assert shipped['pointing_ordinary'] < shipped['pointing_vv'] - 0.5


def test_shipped_weights_reach_their_report(shipped):
    reached = json.loads((ASSETS / 'sotglp_demo.report.json').read_text())['reached']
    # 300 scenes: two figures' standard errors together are at most 0.033
    for key in (
        'pointing_vv',
        'pointing_ordinary',
        'zero_shot_pairs',
        'zero_shot_generated_digits',
    ):
        assert shipped[key] == pytest.approx(reached[key], abs=0.11), key
    assert shipped['zero_shot_real_digits'] == pytest.approx(reached['zero_shot_real_digits'])

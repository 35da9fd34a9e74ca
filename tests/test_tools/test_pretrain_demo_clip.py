"""Pretraining runs end to end, and the shipped weights reach what is written beside them."""

import json
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from mini_runs import REPO
from safetensors.torch import load_file

sys.path.insert(0, str(REPO / 'tools' / 'studies'))

import demo_clip_report
import pretrain_demo_clip

ASSETS = REPO / 'sotglp_mm' / 'demo' / 'assets'
CONFIG, WEIGHTS, MERGES, REPORT = (
    f'sotglp_demo{end}' for end in ('.json', '.safetensors', '_bpe.txt.gz', '.report.json')
)
TINY = """
    --steps 3 --settle-steps 3 --batch 12 --width 64 --layers 2 --text-width 64 --text-layers 1
    --eval-scenes 8 --threads 1 --workers 0 --precision fp32
"""


def pretrain(out: Path, *more: str | Path) -> Path:
    with torch.random.fork_rng():
        pretrain_demo_clip.main(['--out', str(out), *TINY.split(), *map(str, more)])
    return out


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Path:
    return pretrain(tmp_path_factory.mktemp('tiny'))


@pytest.fixture(scope='module')
def shipped() -> dict:
    """The shipped weights measured anew: 300 scenes that neither training nor report drew."""
    return demo_clip_report.measure(ASSETS, scenes=300, seed=77)


def test_it_writes_its_files_and_the_same_ones_again(tiny, tmp_path):
    assert {path.name for path in tiny.iterdir()} == {CONFIG, WEIGHTS, MERGES, REPORT}
    report = json.loads((tiny / REPORT).read_text())
    assert report['settings']['steps'] == 3
    assert set(report['stages']) == {'train', 'settle'}
    assert {'versions', 'reached'} <= set(report)
    pretrain(tmp_path)
    for name in (WEIGHTS, MERGES, CONFIG):
        assert (tiny / name).read_bytes() == (tmp_path / name).read_bytes()


def test_shipped_files_are_small_and_fit_together():
    names = (CONFIG, WEIGHTS, MERGES, REPORT)
    assert sum((ASSETS / name).stat().st_size for name in names) < 12e6
    config = json.loads((ASSETS / CONFIG).read_text())
    bpe_path = ASSETS / config['text_cfg']['tokenizer_kwargs']['bpe_path']
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(bpe_path))
    assert tokenizer.vocab_size == config['text_cfg']['vocab_size']
    open_clip.model.CLIP(**config).load_state_dict(load_file(ASSETS / WEIGHTS))


def test_shipped_weights_point(shipped):
    assert shipped['pointing_vv'] >= 0.85
    assert shipped['pointing_centre_vv'] > 0.7
    assert shipped['pointing_ordinary'] < shipped['pointing_vv'] - 0.5


def test_shipped_weights_reach_their_report(shipped):
    reached = json.loads((ASSETS / REPORT).read_text())['reached']
    # 300 scenes: two figures' standard errors together are at most 0.033
    for key in ('pointing_vv', 'pointing_ordinary'):
        assert shipped[key] == pytest.approx(reached[key], abs=0.11), key
    for key in ('zero_shot_pairs', 'zero_shot_generated_digits'):
        assert shipped[key] == pytest.approx(reached[key], abs=0.11), key
    assert shipped['zero_shot_real_digits'] == pytest.approx(reached['zero_shot_real_digits'])

"""A model config that cannot be built is named, before memory is asked for."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from small_clip import CONFIG

from sotglp_mm.clip.config import read_clip_config
from sotglp_mm.clip.load import load_clip


def write(folder: Path, changes: dict) -> Path:
    config = deepcopy(CONFIG)
    for key, value in changes.items():
        part, _, name = key.rpartition('.')
        (config[part] if part else config)[name] = value
    (folder / 'model.json').write_text(json.dumps(config))
    return folder / 'model.json'


def test_a_good_one_is_what_the_file_says(tmp_path: Path):
    assert read_clip_config(write(tmp_path, {})) == CONFIG
    file = write(tmp_path, {'vision_cfg.image_size': [48, 32], 'text_cfg.mlp_ratio': 2})
    assert read_clip_config(file)['vision_cfg']['image_size'] == [48, 32]


@pytest.mark.parametrize(
    ('changes', 'why'),
    [
        ({'vision_cfg': 'x'}, "vision_cfg is 'x'"),
        ({'text_cfg': None}, 'text_cfg is None'),
        ({'embed_dim': None}, "embed_dim is 'None'"),
        ({'embed_dim': True}, "embed_dim is 'True'"),
        ({'vision_cfg.width': 0}, r"vision_cfg\.width is '0'"),
        ({'text_cfg.heads': 2.0}, r"text_cfg\.heads is '2\.0'"),
        ({'text_cfg.mlp_ratio': float('nan')}, 'a CLIP of nan weights'),
        ({'quick_gelu': 'no'}, "quick_gelu is 'no'"),
        ({'vision_cfg.width': 10**9}, r'a CLIP of .* weights; expected at most 5e\+09'),
        ({'text_cfg.context_length': 10**6}, r'a CLIP of 1e\+12 weights'),
    ],
)
def test_values_that_are_none(tmp_path: Path, changes: dict, why: str):
    with pytest.raises(ValueError, match=rf'model\.json.*{why}'):
        read_clip_config(write(tmp_path, changes))


@pytest.mark.parametrize(
    ('changes', 'why'),
    [
        ({'vision_cfg.foo': 1}, 'builds no CLIP .*foo'),
        ({'foo': 1}, 'builds no CLIP .*foo'),
        ({'text_cfg.heads': 3}, 'builds no CLIP'),
        ({'text_cfg.tokenizer_kwargs': 'x'}, 'builds no CLIP'),
        ({'text_cfg.mlp_ratio': 'x'}, 'builds no CLIP'),
        ({'text_cfg.tokenizer_kwargs': {'bpe_path': 'absent.gz'}}, 'builds no CLIP .*absent'),
        ({'text_cfg.vocab_size': 10}, 'the tokenizer knows 49408 words, vocab_size is 10'),
    ],
)
def test_what_open_clip_cannot_build_names_the_config(tmp_path: Path, changes: dict, why: str):
    with pytest.raises(ValueError, match=rf'model\.json: open_clip .*{why}'):
        load_clip(str(write(tmp_path, changes)))

"""Heads on one tiny CLIP, and features that they can take."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from small_clip import write_clip

from sotglp_mm.clip.load import build_towers, lend
from sotglp_mm.structures import ImageFeatures

NAMES = ['cat', 'dog', 'cow', 'ram', 'fox', 'bee', 'ant', 'owl', 'emu', 'yak']


@pytest.fixture(scope='session')
def build(tmp_path_factory):
    """``build(**settings)``: a head with some settings changed; all are on one CLIP."""
    towers = build_towers(write_clip(tmp_path_factory.mktemp('clip')))
    selector = dict(type='SparsePatchSelector', k=5)
    default = dict(type='SOTGLPHead', class_names=NAMES, selector=selector)

    def build_head(**settings):
        with nullcontext() if 'clip' in settings else lend(towers):
            return MODELS.build({**default, **settings})

    return build_head


@pytest.fixture(scope='session')
def feats() -> ImageFeatures:
    """Of three images of twelve patches."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(3, 12, 10, generator=generator)
    image = torch.randn(3, 10, generator=generator)
    return ImageFeatures(F.normalize(patches, dim=-1), F.normalize(image, dim=-1))

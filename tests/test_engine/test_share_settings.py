"""One line overrides the CLIP of every part."""

from pathlib import Path

import pytest
from mmengine.config import Config

from sotglp_mm.apis import share_settings

OLD = dict(model_name='ViT-B-16', pretrained='openai')
NEW = dict(model_name='ViT-B-16', pretrained='my.pt')
CONFIGS = Path(__file__).parents[2] / 'configs'


def make_config(**changed) -> Config:
    model = dict(
        type='ImageClassifier',
        backbone=dict(type='OpenCLIPViT', clip=OLD),
        neck=[dict(type='LocalProjectionNeck', clip=OLD), dict(type='Other')],
        head=dict(type='SOTGLPHead', clip=OLD),
    )
    return Config({**dict(clip=OLD, clip_of_parts=OLD, model=model), **changed})


def clips_of(model) -> list[dict]:
    return [model.backbone.clip, model.neck[0].clip, model.head.clip]


def test_a_new_clip_reaches_every_part():
    cfg = make_config(clip=NEW)
    share_settings(cfg)
    assert clips_of(cfg.model) == [NEW] * 3
    assert 'clip' not in cfg.model.neck[1]


def test_parts_get_copies():
    cfg = make_config(clip=NEW)
    share_settings(cfg)
    cfg.model.head.clip.pretrained = 'another.pt'
    assert cfg.clip == cfg.model.backbone.clip == NEW


def test_a_second_call_changes_nothing_and_a_second_override_does():
    cfg = make_config(clip=NEW)
    share_settings(cfg)
    share_settings(cfg)
    assert clips_of(cfg.model) == [NEW] * 3
    cfg.merge_from_dict({'clip.pretrained': 'third.pt'})
    share_settings(cfg)
    assert [clip.pretrained for clip in clips_of(cfg.model)] == ['third.pt'] * 3


def test_a_part_with_its_own_clip_keeps_it():
    cfg = make_config(clip=NEW)
    own = dict(model_name='ViT-L-14', pretrained='openai')
    cfg.model.backbone.clip = own
    share_settings(cfg)
    assert clips_of(cfg.model) == [own, NEW, NEW]


@pytest.mark.parametrize('absent', ['clip', 'clip_of_parts'])
def test_a_config_that_does_not_share_is_left_alone(absent: str):
    cfg = make_config(**{'clip': NEW, absent: None})
    share_settings(cfg)
    assert clips_of(cfg.model) == [OLD] * 3


def test_one_option_on_the_command_line_is_enough_for_the_recipe():
    cfg = Config.fromfile(CONFIGS / 'sotglp_vitb16_16shot_dtd.py')
    cfg.merge_from_dict({'clip.pretrained': 'my.pt'})
    share_settings(cfg)
    model = cfg.model
    for part in (model.backbone, model.neck, model.head):
        assert part.clip == NEW

"""Parts with different CLIPs stop the run."""

from types import SimpleNamespace

import pytest
from mmpretrain.registry import HOOKS
from torch import nn


def make_runner(**towers):
    model = nn.Module()
    for name, each in towers.items():
        part = nn.Module()
        if each is not None:
            part.towers = each
        model.add_module(name, part)
    return SimpleNamespace(model=model)


def check(runner) -> None:
    HOOKS.build(dict(type='OneClipHook')).before_run(runner)


def test_one_clip_passes_and_parts_without_are_left_alone():
    clip = object()
    check(make_runner(backbone=clip, neck=clip, head=clip))
    check(make_runner(backbone=None, head=clip))
    check(make_runner(backbone=None))


def test_two_clips_are_told_apart_by_the_parts_names():
    clip = object()
    with pytest.raises(ValueError, match=r'backbone and neck hold different CLIPs.*clip = dict'):
        check(make_runner(backbone=object(), neck=clip, head=clip))

"""Shared fixtures: the released program's numbers, a tiny CLIP, folders of generated images."""

import sys
from pathlib import Path

import pytest

import sotglp_mm  # noqa: F401  registers the parts

sys.path.insert(0, str(Path(__file__).parent))

from mini_cache import MiniCache
from released import FIXTURES, Released


@pytest.fixture(scope='session', params=FIXTURES)
def released(request, tmp_path_factory) -> Released:
    """Each of the two parity fixtures."""
    return Released(request.param, tmp_path_factory.mktemp('clip'))


@pytest.fixture(scope='session')
def tiny(tmp_path_factory) -> Released:
    """The first fixture, as a tiny CLIP for whatever needs one."""
    return Released(FIXTURES[0], tmp_path_factory.mktemp('tiny'))


@pytest.fixture(scope='session')
def mini_cache(tiny, tmp_path_factory) -> MiniCache:
    """A feature cache of the miniature; copy it before changing anything."""
    return MiniCache(tmp_path_factory.mktemp('mini_cache'), tiny.clip)

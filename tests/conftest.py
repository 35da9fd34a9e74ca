"""Shared fixtures: the released program's numbers, a tiny CLIP, folders of generated images."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

import sotglp_mm  # noqa: F401  registers the parts

sys.path.insert(0, str(Path(__file__).parent))

from mini_runs import MiniCache
from mini_wheel import build_sdist, build_wheel, install, unpack
from released import FIXTURES, Released

# tools/dist_*.sh: tests that run at the same time must not share a port
if 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ['PORT'] = str(29500 + int(os.environ['PYTEST_XDIST_WORKER'].removeprefix('gw')))

# the same examples every time: a failure is one that a change made
settings.register_profile('short', max_examples=60, deadline=None, derandomize=True)
settings.register_profile('long', max_examples=3000, deadline=None)
settings.register_profile('few', max_examples=5, deadline=None, derandomize=True)
settings.load_profile('short')


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


@pytest.fixture(scope='session')
def sdist(tmp_path_factory) -> Path:
    """The source distribution of this checkout."""
    return build_sdist(tmp_path_factory.mktemp('sdist'))


@pytest.fixture(scope='session')
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel, built from the source distribution."""
    folder = tmp_path_factory.mktemp('wheel')
    return build_wheel(unpack(sdist, folder), folder)


@pytest.fixture(scope='session')
def installed(wheel, tmp_path_factory) -> Path:
    """The wheel's files, as an install has them; a folder for PYTHONPATH."""
    return install(wheel, tmp_path_factory.mktemp('installed'))

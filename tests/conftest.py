"""Shared fixtures: the released program's numbers, a tiny CLIP, folders of generated images."""

import gc
import os
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from mmengine.registry import DefaultScope

import sotglp_mm  # noqa: F401  registers the parts

sys.path.insert(0, str(Path(__file__).parent))

from mini_own import OwnRun, train_own
from mini_pictures import demo_model, write_checkpoint
from mini_runs import MiniCache
from mini_wheel import build_all
from released import FIXTURES, Released

# tools/dist_*.sh: tests that run at the same time must not share a port
if 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ['PORT'] = str(29500 + int(os.environ['PYTEST_XDIST_WORKER'].removeprefix('gw')))

# the same examples every time: a failure is one that a change made
settings.register_profile('short', max_examples=60, deadline=None, derandomize=True)
settings.register_profile('long', max_examples=3000, deadline=None)
settings.register_profile('few', max_examples=5, deadline=None, derandomize=True)
settings.load_profile('short')


def pytest_collection_finish() -> None:
    """MMEngine collects garbage for every dataset; what is imported need not be looked through."""
    gc.collect()
    gc.freeze()


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
def own(tiny, tmp_path_factory) -> OwnRun:
    """A run on images whose folder is gone."""
    return train_own(tmp_path_factory.mktemp('own'), tiny.clip)


@pytest.fixture(scope='session')
def demo_checkpoint(tmp_path_factory) -> Path:
    """Of the untrained demo."""
    return write_checkpoint(demo_model(), tmp_path_factory.mktemp('demo'))


@pytest.fixture
def scope():
    """As in a run: MMEngine's wrappers build what they wrap from the scope's registry."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def logged(monkeypatch):
    """``logged(module)``: a list of what one of our modules logs from now on."""

    def listen(module: str) -> list[str]:
        said: list[str] = []
        place = f'sotglp_mm.{module}.print_log'
        monkeypatch.setattr(place, lambda text, **_: said.append(text))
        return said

    return listen


@pytest.fixture(scope='session')
def built(tmp_path_factory) -> Path:
    """Source distribution, wheel, and its files; made by the first worker that asks."""
    folder = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        folder = folder.parent
    folder /= 'built'
    with FileLock(f'{folder}.lock'):
        if not folder.exists():
            folder.mkdir()
            build_all(folder)
    return folder


@pytest.fixture(scope='session')
def sdist(built: Path) -> Path:
    """The source distribution of this checkout."""
    return next(built.glob('*.tar.gz'))


@pytest.fixture(scope='session')
def wheel(built: Path) -> Path:
    """The wheel, built from the source distribution."""
    return next(built.glob('*.whl'))


@pytest.fixture(scope='session')
def installed(built: Path) -> Path:
    """The wheel's files, as an install has them; a folder for PYTHONPATH."""
    return built / 'installed'

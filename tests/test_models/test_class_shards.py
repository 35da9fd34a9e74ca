"""Text encoding shared out among processes: what one process with the whole batch computes."""

import pytest
import torch
import torch.distributed as dist
from process_group import run_processes
from shard_work import STEPS, Case, build, train, work
from small_clip import write_clip

from sotglp_mm.models.class_shards import my_share

# in a step, a process has at most three images: classes are missing in each of them
CASES = {
    'all learn': Case(),
    'global frozen': Case(frozen=('head.global_prompts',)),
    'prompts frozen': Case(frozen=('head.global_prompts', 'head.local_prompts')),
    'images that do not divide': Case(images=5),
    'two images': Case(images=2),
    'one image': Case(images=1),
    'two classes': Case(classes=2),
    'half precision': Case(half=True),
}


@pytest.fixture(scope='module')
def clip(tmp_path_factory) -> dict:
    return write_clip(tmp_path_factory.mktemp('clip'))


@pytest.fixture(scope='module', params=[2, 3])
def shares(request, clip, tmp_path_factory) -> list[dict]:
    """What each of several processes found, by case."""
    folder, world = tmp_path_factory.mktemp('shares'), request.param
    run_processes(work, world, str(folder), clip, CASES)
    return [torch.load(folder / f'{rank}.pt', weights_only=True) for rank in range(world)]


def dealt_back(shares: tuple[list[int], ...]) -> list[int]:
    """Images of a step in the sampler's order, which one process has, and draws prompts in."""
    return [row for dealt in zip(*shares, strict=True) for row in dealt]


@pytest.mark.parametrize('name', CASES)
def test_processes_equal_one(shares: list[dict], clip: dict, name: str):
    case, saved = CASES[name], [share[name] for share in shares]
    # an image that fills up the shares counts twice in a step, in several processes as in one
    rows = [dealt_back(of_step) for of_step in zip(*(share['rows'] for share in saved))]
    assert all(set(of_step) == set(range(case.images)) for of_step in rows)
    model = build(clip, case)
    expected = train(model, dict(model.named_parameters()), rows, case)
    tolerance = 0.02 if case.half else 1e-5
    for share in saved:
        assert share['found'].keys() == expected.keys()
        for key, value in expected.items():
            if key.startswith('loss') or not case.half:
                error = (share['found'][key] - value).norm() / value.norm()
                assert error <= tolerance, f'{key}: {error}'


@pytest.mark.parametrize('name', CASES)
def test_a_class_is_encoded_once_a_step(shares: list[dict], name: str):
    case, world = CASES[name], len(shares)
    encoded = sum(sum(share[name]['encoded']) for share in shares)
    # learned prompts: by whoever has the class, or by all where classes are too few to share out;
    # frozen ones: once in every process
    frozen = len(case.frozen)
    times = 1 if case.classes >= world else world
    assert encoded == case.classes * (STEPS * (2 - frozen) * times + world * frozen)


def test_shares_are_filled_up_evenly(shares: list[dict]):
    for name, case in CASES.items():
        sizes = {len(of_step) for share in shares for of_step in share[name]['rows']}
        assert sizes == {-(-case.images // len(shares))}


def test_one_process_shares_nothing():
    assert my_share(3) is None


def test_fewer_classes_than_processes_are_not_shared_out(monkeypatch):
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 3)
    monkeypatch.setattr(dist, 'get_rank', lambda: 1)
    assert my_share(2) is None
    assert my_share(4) == slice(1, None, 3)

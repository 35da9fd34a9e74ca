"""Several processes, however little each of them has, evaluate what one process evaluates."""

import json

import pytest
from metric_work import OF_LABELS, OF_SETS, SETS, Case, evaluate, work
from process_group import run_processes

EVERY = list(range(len(SETS)))
# the third of three processes has all unknown images, the first alone has class 3
LOPSIDED = [0, 1, 5, 2, 3, 8, 4]
CASES = {
    'uneven shares': Case(EVERY, OF_SETS + OF_LABELS),
    'uneven shares, not filled up': Case(EVERY, OF_SETS + OF_LABELS, round_up=False),
    'unknown images in one process': Case(LOPSIDED, OF_SETS + OF_LABELS),
    'one image': Case([3], OF_LABELS),
    'one image, not filled up': Case([3], OF_LABELS, round_up=False),
    'one image without a label': Case([8], OF_LABELS),
}


@pytest.fixture(scope='module', params=[2, 3])
def shares(request, tmp_path_factory) -> list[dict]:
    """What each of several processes evaluated, by case."""
    folder, world = tmp_path_factory.mktemp('gathered'), request.param
    run_processes(work, world, str(folder), CASES)
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in range(world)]


@pytest.mark.parametrize('name', CASES)
def test_processes_equal_one(shares: list[dict], name: str):
    case = CASES[name]
    expected = evaluate(case, list(range(len(case.images))))
    assert [share[name]['found'] for share in shares] == [expected] * len(shares)


def test_shares_are_as_lopsided_as_they_are_called(shares: list[dict]):
    world = len(shares)
    rows = {name: [share[name]['rows'] for share in shares] for name in CASES}
    assert sum(map(len, rows['uneven shares'])) == 12 > len(SETS)  # one image in two processes
    assert sum(map(len, rows['uneven shares, not filled up'])) == len(SETS)
    assert rows['one image'] == [[0]] * world
    assert rows['one image, not filled up'] == [[0]] + [[]] * (world - 1)

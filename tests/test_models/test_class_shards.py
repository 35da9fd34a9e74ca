"""Text encoding shared out among processes: what one process with the whole batch computes."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from shard_work import NAMES, STEPS, build, train, work
from small_clip import write_clip

from sotglp_mm.models.class_shards import my_share

FROZEN = {
    'all learn': (),
    'global frozen': ('head.global_prompts',),
    'prompts frozen': ('head.global_prompts', 'head.local_prompts'),
}


@pytest.mark.parametrize('frozen', FROZEN.values(), ids=FROZEN)
@pytest.mark.parametrize('world', [2, 3])
def test_processes_equal_one(tmp_path: Path, world: int, frozen: tuple):
    clip = write_clip(tmp_path)
    model = build(clip, frozen)
    expected = train(model, dict(model.named_parameters()), slice(None))
    mp.spawn(work, (world, str(tmp_path), clip, frozen), nprocs=world)
    encoded = 0
    for rank in range(world):
        saved = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        assert saved['found'].keys() == expected.keys()
        for name, value in expected.items():
            error = (saved['found'][name] - value).norm() / value.norm()
            assert error <= 1e-5, f'{name}: {error}'
        encoded += sum(saved['encoded'])
    # learned prompts: a class once a step, whoever encodes it; frozen: once in every process
    kinds_frozen = len(frozen)
    assert encoded == len(NAMES) * (STEPS * (2 - kinds_frozen) + world * kinds_frozen)


def test_half_precision_is_exchanged_too(tmp_path: Path):
    clip = write_clip(tmp_path)
    model = build(clip, ())
    expected = train(model, dict(model.named_parameters()), slice(None), half=True)
    mp.spawn(work, (2, str(tmp_path), clip, (), True), nprocs=2)
    found = torch.load(tmp_path / '0.pt', weights_only=True)['found']
    for step in range(STEPS):
        torch.testing.assert_close(
            found[f'loss {step}'], expected[f'loss {step}'], rtol=0.02, atol=0
        )


def test_one_process_shares_nothing():
    assert my_share([0, 1, 2]) is None


def test_fewer_classes_than_processes_are_not_shared_out(monkeypatch):
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 3)
    monkeypatch.setattr(dist, 'get_rank', lambda: 1)
    assert my_share([4, 7]) is None
    assert my_share([4, 7, 9, 5]) == [7]

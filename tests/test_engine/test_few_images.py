"""Whole runs in more processes than there are images to train on, or to test on."""

import json
import socket
from pathlib import Path

import pytest
from few_images_work import prepared, train_and_test, uneven_epochs
from mini_runs import CLASSES
from mini_trust import losses, trust_config
from mmengine.runner import Runner
from process_group import run_processes

WORLD = 3
NAMES = CLASSES[:2]


@pytest.fixture(scope='module')
def config(tiny, tmp_path_factory) -> Path:
    """Two images to train on, one to validate on, five to test on."""
    folder = tmp_path_factory.mktemp('few')
    base = trust_config(folder, tiny.clip, epochs=2)
    split = folder / 'dtd' / 'split_zhou_DescribableTextures.json'
    rows = json.loads(split.read_text())
    kept = {part: [row for row in rows[part] if row[2] in NAMES] for part in rows}
    split.write_text(json.dumps(kept))
    path = folder / 'few.py'
    path.write_text(f"""
_base_ = {str(base)!r}
model = dict(head=dict(class_names={list(NAMES)!r}))
train_dataloader = dict(batch_size=1, dataset=dict(num_shots=1))
val_dataloader = dict(dataset=dict(indices=1))
test_dataloader = dict(batch_size=2, dataset=dict(indices=5))
""")
    return path


@pytest.fixture(scope='module')
def work_dir(config: Path) -> Path:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    folder = config.parent / 'run'
    run_processes(train_and_test, WORLD, port, str(config), str(folder))
    return folder


@pytest.fixture(scope='module')
def found(work_dir: Path) -> list[dict]:
    return [json.loads((work_dir / f'{rank}.json').read_text()) for rank in range(WORLD)]


def test_all_processes_learn_the_same(work_dir: Path, found: list[dict]):
    rows = losses(work_dir)
    assert len(rows) == 2  # an epoch is one step: an image each, one of the two in two processes
    assert rows[1]['loss'] != rows[2]['loss']
    assert all(one['learned'] == found[0]['learned'] for one in found)


def test_metrics_are_those_of_one_process(config: Path, work_dir: Path, found: list[dict]):
    checkpoint = str(work_dir / 'epoch_2.pth')
    cfg = prepared(config, work_dir=str(config.parent / 'alone'), load_from=checkpoint)
    expected = Runner.from_cfg(cfg).test()
    assert {'accuracy/top1', 'accuracy_global/top1', 'accuracy_local/top1'} <= set(expected)
    assert [one['metrics'] for one in found] == [expected] * WORLD
    validated = [
        json.loads(line)['accuracy/top1']
        for file in work_dir.glob('*/vis_data/scalars.json')
        for line in file.read_text().splitlines()
        if 'accuracy/top1' in line and 'loss' not in line
    ]
    assert len(validated) == 2
    assert set(validated) <= {0, 100}  # of one image


@pytest.mark.parametrize(('images', 'batches'), [(5, [2, 2, 1]), (2, [1, 1, 0])])
def test_one_batch_more_in_one_process_stops_all(tmp_path: Path, images: int, batches: list):
    run_processes(uneven_epochs, WORLD, str(tmp_path), images)
    for rank in range(WORLD):
        said = (tmp_path / f'{rank}.txt').read_text()
        assert said.startswith(
            f'The processes have different numbers of batches in an epoch, {batches}'
        )
        assert 'train_dataloader.sampler.round_up=True' in said


def test_as_many_batches_in_each_process_are_fine(tmp_path: Path):
    run_processes(uneven_epochs, WORLD, str(tmp_path), 6)
    assert [(tmp_path / f'{rank}.txt').read_text() for rank in range(WORLD)] == ['nothing'] * WORLD


def test_processes_that_found_other_checkpoints_are_stopped(tmp_path: Path):
    run_processes(uneven_epochs, WORLD, str(tmp_path), 6, 1)
    for rank in range(WORLD):
        said = (tmp_path / f'{rank}.txt').read_text()
        assert said.startswith(
            'The processes would go on from different (epoch, iteration), [(2, 4), (0, 0), (0, 0)]'
        )
        assert 'give all the same file by --resume' in said

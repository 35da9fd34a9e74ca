"""Whole runs in more processes than there are images to train on, or to test on."""

import json
from functools import partial
from pathlib import Path

import pytest
from few_images_work import differing, train_and_test
from mini_runs import CLASSES
from mini_trust import losses, trust_config
from process_group import free_port, run_processes

from sotglp_mm.apis import build_runner, load_config

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
    folder = config.parent / 'run'
    run_processes(train_and_test, WORLD, free_port(), str(config), str(folder))
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
    options = dict(load_from=str(work_dir / 'epoch_2.pth'))
    expected = build_runner(load_config(config, options, config.parent / 'alone')).test()
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


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(), 'nothing'),
        (dict(names=['cat', 'dog', 'cow']), "names.1: 'cow' in process 0 and 'dog' in process 2"),
        (dict(names=['cat', 'cow']), "Class names.2: 'dog' in process 0 and absent in process 2"),
        (
            dict(names=['cat', 'cow'], before_model=True),
            "label 2, 'dog', is known to process 0 al",
        ),
        (dict(images=[['b.jpg', 0]]), "images.0.0: 'a.jpg' in process 0 and 'b.jpg' in process"),
        (dict(clip='other'), 'CLIP.head._extra_state: \'{"clip": "ViT"}\' in process 0 and'),
        (dict(epoch=2), '(epoch, iteration): (0, 0) in process 0 and (2, 4) in process 2'),
        (dict(batches=3), 'Batches in an epoch: 2 in process 0 and 3 in process 2'),
    ],
    ids=lambda value: '_'.join(value) if isinstance(value, dict) else '',
)
def test_processes_that_differ_are_stopped(tmp_path: Path, changed: dict, message: str):
    run_processes(partial(differing, **changed), WORLD, str(tmp_path))
    for rank in range(WORLD):
        assert message in (tmp_path / f'{rank}.txt').read_text()

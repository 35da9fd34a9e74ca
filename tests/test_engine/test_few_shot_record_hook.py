"""What a run learned from is written down, once, where there is something to write."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmpretrain.registry import DATASETS, HOOKS


def run_hook(dataset, work_dir: Path) -> list[str]:
    said: list[str] = []
    runner = SimpleNamespace(
        iter=0,
        work_dir=str(work_dir),
        train_dataloader=SimpleNamespace(dataset=dataset),
        logger=SimpleNamespace(info=said.append),
    )
    HOOKS.build(dict(type='FewShotRecordHook')).before_train(runner)
    return said


@pytest.fixture
def few_shot():
    dataset = dict(type='DemoScenesDataset', split='val')
    return DATASETS.build(dict(type='FewShotDataset', dataset=dataset, num_shots=2, seed=5))


@pytest.mark.parametrize(
    'wrap',
    [
        lambda few_shot: few_shot,
        lambda few_shot: SimpleNamespace(dataset=SimpleNamespace(dataset=few_shot)),
        lambda few_shot: SimpleNamespace(source=few_shot),  # of cached features
    ],
)
def test_the_file_is_taken_by_the_dataset(few_shot, tmp_path: Path, wrap):
    (said,) = run_hook(wrap(few_shot), tmp_path / 'new' / 'run')
    file = tmp_path / 'new' / 'run' / 'few_shot_files.json'
    record = json.loads(file.read_text())
    assert record == few_shot.few_shot_record()
    assert f'48 images, sha256 {record["sha256"]}, written to {file}' in said
    config = dict(type='FewShotDataset', dataset=few_shot.dataset, files=str(file))
    assert DATASETS.build(config).indices.tolist() == few_shot.indices.tolist()


def test_each_set_of_a_concatenation_has_a_file(few_shot, tmp_path: Path):
    second = few_shot.get_subset(5)
    said = run_hook(
        SimpleNamespace(datasets=[few_shot, SimpleNamespace(dataset=second)]), tmp_path
    )
    assert len(said) == 2
    for name, dataset in (('few_shot_files', few_shot), ('few_shot_files_2', second)):
        record = json.loads((tmp_path / f'{name}.json').read_text())
        assert record == dataset.few_shot_record()


@pytest.mark.parametrize('dataset', [SimpleNamespace(), SimpleNamespace(source=None)])
def test_other_training_sets_are_left_alone(dataset, tmp_path: Path):
    assert run_hook(dataset, tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_only_the_main_process_writes(few_shot, tmp_path: Path, monkeypatch):
    import mmengine.dist.utils as utils

    monkeypatch.setattr(utils, 'is_main_process', lambda group=None: False)
    assert run_hook(few_shot, tmp_path) == []
    assert not list(tmp_path.iterdir())

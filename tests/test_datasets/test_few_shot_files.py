"""A draw is written down, and is the same draw again; other files are refused, with a reason."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from mini_runs import CLASSES, write_images
from mmpretrain.registry import DATASETS, HOOKS

from sotglp_mm.datasets.data_identity import samples_digest

SPLIT_FILE = 'split_zhou_DescribableTextures.json'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_images(tmp_path / 'dtd')
    return tmp_path / 'dtd'


def build(root: Path, **settings):
    dataset = dict(type='CoOpSplitDataset', data_root=str(root), split_file=SPLIT_FILE)
    return DATASETS.build(dict(type='FewShotDataset', dataset=dataset, **settings))


def images(few_shot, root: Path) -> list[tuple[str, int]]:
    infos = [few_shot.get_data_info(i) for i in range(len(few_shot))]
    return [(info['img_path'].removeprefix(f'{root}/images/'), info['gt_label']) for info in infos]


def write(record: dict, path: Path) -> str:
    path.write_text(json.dumps(record))
    return str(path)


def with_images(record: dict, rows: list) -> dict:
    """As if it had been written with these images."""
    return dict(record, images=rows, sha256=samples_digest(rows))


def test_what_is_recorded(root: Path):
    few_shot = build(root, num_shots=2, seed=7)
    record = few_shot.few_shot_record()
    settings = ['num_shots', 'seed', 'sampling', 'label_codes']
    assert list(record) == [*settings, 'classes', 'images', 'sha256']
    assert [record[name] for name in settings] == [2, 7, 'per_class', 'label']
    assert record['classes'] == list(CLASSES)
    assert [tuple(row) for row in record['images']] == images(few_shot, root)
    assert re.fullmatch(r'banded/banded_train_\d.jpg', record['images'][0][0])
    assert re.fullmatch(r'[0-9a-f]{64}', record['sha256'])
    assert json.loads(json.dumps(record)) == record


def test_the_same_images_again_elsewhere_and_in_another_order(root: Path, tmp_path: Path):
    drawn = build(root, num_shots=2, seed=7, sampling='stratified')
    record = drawn.few_shot_record()
    file = write(record, tmp_path / 'files.json')
    moved = root.rename(tmp_path / 'moved')
    splits = json.loads((moved / SPLIT_FILE).read_text())
    splits['train'].reverse()
    (moved / SPLIT_FILE).write_text(json.dumps(splits))

    again = build(moved, files=file)
    assert images(again, moved) == [tuple(row) for row in record['images']]
    assert again.few_shot_record() == record  # settings too, though others were the default
    assert [again.get_cat_ids(i)[0] for i in range(len(again))] == [r[1] for r in record['images']]


def test_exactly_those_images_whatever_their_number(root: Path, tmp_path: Path):
    rows = build(root, num_shots=3).few_shot_record()
    chosen = with_images(rows, [rows['images'][i] for i in (7, 0, 7, 4)])
    few_shot = build(root, files=write(chosen, tmp_path / 'files.json'))
    assert images(few_shot, root) == [tuple(row) for row in chosen['images']]


def test_generated_images(tmp_path: Path):
    dataset = dict(type='DemoScenesDataset', split='val')
    drawn = DATASETS.build(dict(type='FewShotDataset', dataset=dataset, num_shots=3))
    record = drawn.few_shot_record()
    file = write(record, tmp_path / 'files.json')
    again = DATASETS.build(dict(type='FewShotDataset', dataset=dataset, files=file))
    assert again.indices.tolist() == drawn.indices.tolist()
    assert record['images'][4] == [dict(seed=[1, 1, drawn.get_data_info(4)['seed'][2]]), 1]


def another_label(record: dict) -> dict:
    (path, _), *rows = record['images']
    return with_images(record, [[path, 2], *rows])


REFUSED = [
    (dict(classes=['a', 1]), r'has the class 1; expected a name'),
    (dict(images=[['a.jpg', '1']]), r"has the image \['a.jpg', '1'\]; expected \[identity"),
    (dict(images=[]), r'has no images'),
    (dict(images=[['a.jpg', 0]]), r'was changed after it was written: .*says [0-9a-f]{64}\. Take'),
    (
        lambda record: with_images(record, [['gone.jpg', 0]]),
        r"names the image 'gone\.jpg', which .*data_root",
    ),
    (another_label, r"gives the image 'banded/.*' label 2, and the dataset label 0; take"),
    (
        dict(classes=['banded', 'spotty', 'braided']),
        r"is of other classes: label 1 is 'spotty' for the file and 'blotchy' in the",
    ),
    (dict(classes=list(CLASSES[:2])), r"label 2, 'braided', is known to the dataset alone"),
]


@pytest.mark.parametrize(('change', 'message'), REFUSED)
def test_a_file_that_does_not_fit_is_refused(root: Path, tmp_path: Path, change, message: str):
    record = build(root, num_shots=2).few_shot_record()
    record = change(record) if callable(change) else {**record, **change}
    file = write(record, tmp_path / 'files.json')
    with pytest.raises(ValueError, match=rf'{file}.*{message}'):
        build(root, files=file)
    with pytest.raises(FileNotFoundError, match=r'few-shot file .*gone.json does not exist; Few'):
        build(root, files=str(tmp_path / 'gone.json'))


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
    monkeypatch.setattr('mmengine.dist.utils.is_main_process', lambda group=None: False)
    assert run_hook(few_shot, tmp_path) == []
    assert not list(tmp_path.iterdir())

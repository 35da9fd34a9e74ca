"""Few-shot sets: how many, which, and what is said of classes that have too few."""

import itertools
import json
import runpy
from pathlib import Path

import mmpretrain
import numpy as np
import pytest
import reference
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS
from PIL import Image
from sklearn.model_selection import StratifiedShuffleSplit

from sotglp_mm.datasets import few_shot_dataset

COUNTS = {'cat': 40, 'dog': 23, 'cow': 5, 'ram': 17}


def write_dataset(root: Path, counts: dict[str, int]) -> dict:
    """A CoOp dataset; its rows are mixed, as a file's order must not matter."""
    rows = [
        [f'{name}_{i}.png', label, name]
        for label, (name, count) in enumerate(counts.items())
        for i in range(count)
    ]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    for path, *_ in rows:
        (root / path).touch()
    (root / 'split.json').write_text(json.dumps({'train': rows}))
    return dict(
        type='CoOpSplitDataset', data_root=str(root), split_file='split.json', data_prefix='.'
    )


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return DATASETS.build(write_dataset(tmp_path_factory.mktemp('animals'), COUNTS))


def build(dataset, **settings):
    return DATASETS.build(dict(type='FewShotDataset', dataset=dataset, **settings))


def paths(few_shot) -> list[str]:
    return [few_shot.get_data_info(i)['img_path'] for i in range(len(few_shot))]


@pytest.mark.parametrize('num_shots', [1, 4, 16])
@pytest.mark.parametrize('seed', [1, 2])
def test_exactly_so_many_of_every_class_or_all(dataset, num_shots: int, seed: int):
    few_shot = build(dataset, num_shots=num_shots, seed=seed)
    labels = few_shot.get_gt_labels().tolist()
    counts = {label: labels.count(label) for label in set(labels)}
    assert counts == reference.few_shot(dataset.get_gt_labels().tolist(), num_shots)
    assert len(set(paths(few_shot))) == len(few_shot)  # nothing twice


def test_default_is_sixteen_of_every_class(dataset):
    few_shot = build(dataset)
    assert (few_shot.num_shots, few_shot.seed, few_shot.sampling) == (16, 1, 'per_class')
    assert len(few_shot) == 16 + 16 + 5 + 16


def test_shots_nest(dataset):
    sets = [set(paths(build(dataset, num_shots=shots, seed=3))) for shots in (1, 2, 4, 8, 16)]
    for fewer, more in itertools.pairwise(sets):
        assert fewer < more


@pytest.mark.parametrize('sampling', ['per_class', 'stratified'])
def test_the_seed_alone_decides(dataset, sampling: str):
    first = paths(build(dataset, num_shots=4, seed=1, sampling=sampling))
    np.random.seed(77)  # the global state must not matter
    assert paths(build(dataset, num_shots=4, seed=1, sampling=sampling)) == first
    assert paths(build(dataset, num_shots=4, seed=2, sampling=sampling)) != first


@pytest.mark.parametrize('seed', [1, 2])
def test_stratified_equals_scikit_learn(dataset, seed: int):
    labels = dataset.get_gt_labels()
    splitter = StratifiedShuffleSplit(n_splits=1, train_size=8 * 4, random_state=seed)
    expected = set(next(splitter.split(np.zeros(len(labels)), labels))[0].tolist())
    few_shot = build(dataset, num_shots=8, seed=seed, sampling='stratified')
    assert set(few_shot.indices.tolist()) == expected
    # what tells the two protocols apart: a rare class gives only its share, though it has 5
    assert np.bincount(few_shot.get_gt_labels())[2] < 5


def test_items_are_those_of_the_wrapped_dataset(tmp_path: Path):
    config = write_dataset(tmp_path, {'cat': 3, 'dog': 2})
    config['pipeline'] = [dict(type='PackInputs', input_key='nothing')]
    few_shot = build(config, num_shots=2)
    assert few_shot.dataset.metainfo['classes'] == few_shot.CLASSES
    few_shot.full_init()
    for i in range(len(few_shot)):
        info = few_shot.get_data_info(i)
        assert few_shot.get_cat_ids(i) == [info['gt_label']]
        assert few_shot[i]['data_samples'].img_path == info['img_path']


def test_a_class_without_an_image_is_named(tmp_path: Path):
    config = write_dataset(tmp_path, {'cat': 3, 'dog': 2, 'cow': 1})
    splits = json.loads((tmp_path / 'split.json').read_text())
    splits['test'] = [row for row in splits['train'] if row[2] == 'dog']
    splits['train'] = [row for row in splits['train'] if row[2] != 'dog']
    (tmp_path / 'split.json').write_text(json.dumps(splits))
    with pytest.raises(ValueError, match=r"no training image of 1 of 3 classes.*first is 'dog'"):
        build(config, num_shots=1)


def test_the_log_says_which_classes_have_fewer(dataset, monkeypatch):
    said = []
    monkeypatch.setattr(few_shot_dataset, 'print_log', lambda text, **kwargs: said.append(text))
    build(dataset, num_shots=20, seed=5)
    build(dataset, num_shots=5)
    assert 'Few-shot set: 62 images of 4 classes, 20 shots' in said[0]
    assert "sampling='per_class', seed 5; fewer than 20 images: {'cow': 5, 'ram': 17}" in said[0]
    assert 'fewer' not in said[1]


def test_too_small_to_be_stratified(tmp_path: Path):
    config = write_dataset(tmp_path, {'cat': 9, 'dog': 2, 'cow': 2})
    with pytest.raises(ValueError, match=r"'stratified' cannot draw 4 x 3 images out of 13"):
        build(config, num_shots=4, sampling='stratified')
    assert len(build(config, num_shots=3, sampling='stratified')) == 9


def test_a_class_with_a_single_image_cannot_be_stratified(tmp_path: Path):
    config = write_dataset(tmp_path, {'cat': 20, 'dog': 1})
    with pytest.raises(ValueError, match=r'the rarest, label 1, has 1\)'):
        build(config, num_shots=2, sampling='stratified')


def test_settings_out_of_range(dataset):
    with pytest.raises(ValueError, match=r'num_shots must be at least 1, got 0'):
        build(dataset, num_shots=0)
    with pytest.raises(ValueError, match=r"sampling='random' is not known.*'stratified'"):
        build(dataset, sampling='random')
    with pytest.raises(TypeError, match=r"FewShotDataset has no setting 'shots'"):
        build(dataset, shots=4)


def test_labels_by_first_appearance_draw_as_the_released_program(dataset):
    labels = dataset.get_gt_labels()
    codes = np.array([list(dict.fromkeys(labels)).index(label) for label in labels])
    splitter = StratifiedShuffleSplit(n_splits=1, train_size=8 * 4, random_state=1)
    expected = set(next(splitter.split(np.zeros(len(codes)), codes))[0].tolist())
    settings = dict(num_shots=8, sampling='stratified')
    few_shot = build(dataset, label_codes='first_appearance', **settings)
    assert set(few_shot.indices.tolist()) == expected
    assert set(build(dataset, **settings).indices.tolist()) != expected
    assert few_shot.get_gt_labels().tolist() == labels[few_shot.indices].tolist()
    with pytest.raises(ValueError, match="label_codes='rank' is not known; choose one of"):
        build(dataset, label_codes='rank')


PACK = [dict(type='PackInputs', input_key='nothing')]
INSIDE = {
    'ConcatDataset': lambda config: dict(datasets=[config, config]),
    'RepeatDataset': lambda config: dict(dataset=config, times=2),
    'ClassBalancedDataset': lambda config: dict(dataset=config, oversample_thr=0.5),
    'KFoldDataset': lambda config: dict(dataset=config, num_splits=5),
}


@pytest.fixture
def scope():
    """As in a run: MMEngine's wrappers build what they wrap from the scope's registry."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.mark.usefixtures('scope')
@pytest.mark.parametrize('wrapper', INSIDE)
def test_wrappers_of_mmpretrain_around_it_and_inside_it(tmp_path: Path, wrapper: str):
    config = write_dataset(tmp_path, COUNTS)
    inside = DATASETS.build(dict(type=wrapper, **INSIDE[wrapper](config)))
    few_shot = build(dict(type=wrapper, **INSIDE[wrapper](config)), num_shots=4, pipeline=PACK)
    assert np.bincount(few_shot.get_gt_labels()).tolist() == [4, 4, 4, 4]
    assert few_shot.get_data_info(3) == inside.get_data_info(few_shot.indices[3])
    if wrapper != 'KFoldDataset':  # the others repeat images, and none is drawn twice
        assert paths(few_shot) == paths(build(config, num_shots=4))
    assert few_shot[3]['data_samples'].img_path == few_shot.get_data_info(3)['img_path']
    assert few_shot.few_shot_record()['images'][0][0].count('/') == 0  # below the root

    around = dict(type='FewShotDataset', dataset=config, num_shots=5, pipeline=PACK)
    wrapped = DATASETS.build(dict(type=wrapper, **INSIDE[wrapper](around)))
    wrapped.full_init()
    labels = [wrapped.get_data_info(i)['gt_label'] for i in range(len(wrapped))]
    sizes = dict(ConcatDataset=40, RepeatDataset=40, ClassBalancedDataset=40, KFoldDataset=16)
    assert len(labels) == sizes[wrapper]
    assert wrapped[2]['data_samples'].gt_label.tolist() == [labels[2]]
    assert wrapped.metainfo['classes'] == tuple(COUNTS)


@pytest.mark.usefixtures('scope')
def test_shots_of_train_and_val_together(tmp_path: Path):
    config = write_dataset(tmp_path, {'cat': 6, 'dog': 4})
    rows = json.loads((tmp_path / 'split.json').read_text())['train']
    (tmp_path / 'split.json').write_text(json.dumps({'train': rows[:5], 'val': rows[5:]}))
    both = [config, {**config, 'split': 'val'}]
    few_shot = build(dict(type='ConcatDataset', datasets=both), num_shots=4)
    record = few_shot.few_shot_record()
    assert len(few_shot) == 8
    assert {tuple(row) for row in record['images']} <= {(path, label) for path, label, _ in rows}
    (tmp_path / 'files.json').write_text(json.dumps(record))
    again = build(dict(type='ConcatDataset', datasets=both), files=str(tmp_path / 'files.json'))
    assert again.indices.tolist() == few_shot.indices.tolist()


def test_a_subset(dataset):
    few_shot = build(dataset, num_shots=4)
    for indices, expected in ((5, range(5)), (-3, range(13, 16)), ([7, 1], [7, 1])):
        subset = few_shot.get_subset(indices)
        assert paths(subset) == [paths(few_shot)[i] for i in expected]
    assert len(few_shot) == 16


@pytest.mark.parametrize('tool', ['visualization/browse_dataset', 'misc/verify_dataset'])
def test_tools_of_mmpretrain(tmp_path: Path, monkeypatch, tool: str):
    """In this process, as the tools have no function to call."""
    config = write_dataset(tmp_path, {'cat': 3, 'dog': 2})
    for path in tmp_path.glob('*.png'):
        Image.new('RGB', (8, 9)).save(path, format='PNG')
    drawn = paths(build(config, num_shots=2))
    broken = Path(drawn[1])
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    few_shot = dict(type='FewShotDataset', num_shots=2, dataset=config, pipeline=pipeline)
    text = f'train_dataloader = dict(dataset={few_shot!r})\n'
    text += "visualizer = dict(type='UniversalVisualizer', vis_backends=[])\n"
    (tmp_path / 'config.py').write_text(text)
    script = Path(mmpretrain.__file__).parent / '.mim' / 'tools' / f'{tool}.py'
    flags = ['--out-path', str(tmp_path / 'broken.log')]
    if 'browse' in tool:
        flags = ['--output-dir', str(tmp_path / 'shown'), '--not-show', '--mode', 'original']
    else:
        broken.write_bytes(b'')
    monkeypatch.setattr('sys.argv', [str(script), str(tmp_path / 'config.py'), *flags])
    runpy.run_path(str(script), run_name='__main__')
    if 'browse' in tool:
        shown = {file.name for file in (tmp_path / 'shown').iterdir()}
        assert shown == {Path(path).name for path in drawn}
    else:
        assert (tmp_path / 'broken.log').read_text() == f'{broken}\n'

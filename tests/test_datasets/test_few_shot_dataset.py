"""Few-shot sets: how many, which, and what is said of classes that have too few."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import reference
from mmpretrain.registry import DATASETS
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


@pytest.mark.parametrize('num_shots', [1, 2, 4, 8, 16])
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

"""Few-shot sets: how many, which, and what is said of classes that have too few."""

import json
import runpy
from pathlib import Path

import mmpretrain
import numpy as np
import pytest
import reference
from mmpretrain.registry import DATASETS
from PIL import Image
from sklearn.model_selection import StratifiedShuffleSplit

from sotglp_mm.datasets.coop_datasets import PACKAGED, read_split_list
from sotglp_mm.datasets.few_shot_dataset import per_class_indices, stratified_indices

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


@pytest.mark.parametrize('sampling', ['per_class', 'stratified'])
def test_the_seed_alone_decides(dataset, sampling: str):
    first = paths(build(dataset, num_shots=4, seed=1, sampling=sampling))
    np.random.seed(77)  # the global state must not matter
    assert paths(build(dataset, num_shots=4, seed=1, sampling=sampling)) == first
    assert paths(build(dataset, num_shots=4, seed=2, sampling=sampling)) != first


def test_a_class_without_an_image_is_named(tmp_path: Path):
    config = write_dataset(tmp_path, {'cat': 3, 'dog': 2, 'cow': 1})
    splits = json.loads((tmp_path / 'split.json').read_text())
    splits['test'] = [row for row in splits['train'] if row[2] == 'dog']
    splits['train'] = [row for row in splits['train'] if row[2] != 'dog']
    (tmp_path / 'split.json').write_text(json.dumps(splits))
    with pytest.raises(ValueError, match=r"no training image of 1 of 3 classes.*first is 'dog'"):
        build(config, num_shots=1)


def test_the_log_says_which_classes_have_fewer(dataset, logged):
    said = logged('datasets.few_shot_dataset')
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
    with pytest.raises(ValueError, match="label_codes='rank' is not known; choose one of"):
        build(dataset, label_codes='rank')


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


PACK = [dict(type='PackInputs', input_key='nothing')]
INSIDE = {
    'ConcatDataset': lambda config: dict(datasets=[config, config]),
    'RepeatDataset': lambda config: dict(dataset=config, times=2),
    'ClassBalancedDataset': lambda config: dict(dataset=config, oversample_thr=0.5),
    'KFoldDataset': lambda config: dict(dataset=config, num_splits=5),
}


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


@pytest.fixture(scope='module', params=sorted(PACKAGED.glob('*.xz')), ids=lambda path: path.stem)
def labels(request) -> np.ndarray:
    """Of the training images, in the list's order."""
    splits, _ = read_split_list(request.param)
    return np.array([label for _, label, _ in splits['train']])


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_per_class_takes_exactly_k_or_all_and_nests(labels: np.ndarray, seed: int):
    counts = np.bincount(labels)
    inner: set[int] = set()
    for shots in (1, 2, 4, 8, 16):
        drawn = per_class_indices(labels, shots, seed)
        found = np.bincount(labels[drawn], minlength=len(counts))
        assert list(found) == [min(shots, count) for count in counts]
        assert inner <= set(drawn)
        inner = set(drawn)


def test_stratified_is_scikit_learn_s_and_gives_rare_classes_fewer(labels: np.ndarray):
    counts = np.bincount(labels)
    total = 16 * len(counts)
    drawn = stratified_indices(labels, 16, seed=2)
    splitter = StratifiedShuffleSplit(n_splits=1, train_size=total, random_state=2)
    expected, _ = next(splitter.split(np.zeros(len(labels)), labels))
    assert list(drawn) == sorted(expected)
    found = np.bincount(labels[drawn], minlength=len(counts))
    share = counts * total / counts.sum()
    assert found.sum() == total
    assert np.abs(found - share).max() <= 1  # proportional, up to rounding
    even = counts.max() == counts.min()
    assert (found.min() == found.max() == 16) if even else (found.min() < 16 < found.max())

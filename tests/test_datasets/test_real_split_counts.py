"""Samplers on the class frequencies of seven of the field's real split files.

``tests/data/split_counts.json`` holds, for each set and split, how many images each class has.
"""

import json

import numpy as np
import pytest
from mini_runs import REPO
from sklearn.model_selection import StratifiedShuffleSplit

from sotglp_mm.class_names.resolve import resolve_class_names
from sotglp_mm.datasets.few_shot_dataset import per_class_indices, stratified_indices
from sotglp_mm.datasets.known_sets import KNOWN_SETS

COUNTS = json.loads((REPO / 'tests' / 'data' / 'split_counts.json').read_text())
SHOTS = (1, 2, 4, 8, 16)


@pytest.fixture(params=sorted(COUNTS))
def name(request) -> str:
    return request.param


def train_labels(name: str) -> np.ndarray:
    counts = COUNTS[name]['train']
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(5).permutation(labels)


def test_the_table_has_the_real_counts(name: str):
    known = KNOWN_SETS[name]
    assert known.counts == {split: sum(counts) for split, counts in COUNTS[name].items()}
    assert known.num_classes == len(COUNTS[name]['train']) == len(resolve_class_names(name))


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_per_class_takes_exactly_k_or_all_and_nests(name: str, seed: int):
    labels = train_labels(name)
    inner: set[int] = set()
    for shots in SHOTS:
        drawn = per_class_indices(labels, shots, seed)
        found = np.bincount(labels[drawn], minlength=len(COUNTS[name]['train']))
        assert list(found) == [min(shots, count) for count in COUNTS[name]['train']]
        assert inner <= set(drawn)
        inner = set(drawn)


def test_stratified_is_scikit_learn_s_and_gives_rare_classes_fewer(name: str):
    labels = train_labels(name)
    counts = np.array(COUNTS[name]['train'])
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

"""Samplers on the class frequencies of the field's real split lists."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedShuffleSplit

from sotglp_mm.datasets.coop_split_dataset import PACKAGED, read_split_list
from sotglp_mm.datasets.few_shot_dataset import per_class_indices, stratified_indices

SHOTS = (1, 2, 4, 8, 16)


@pytest.fixture(scope='module', params=sorted(PACKAGED.glob('*.xz')), ids=lambda path: path.stem)
def labels(request) -> np.ndarray:
    """Of the training images, in the list's order."""
    splits, _ = read_split_list(request.param)
    return np.array([label for _, label, _ in splits['train']])


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_per_class_takes_exactly_k_or_all_and_nests(labels: np.ndarray, seed: int):
    counts = np.bincount(labels)
    inner: set[int] = set()
    for shots in SHOTS:
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

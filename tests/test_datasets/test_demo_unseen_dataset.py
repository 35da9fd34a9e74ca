"""The demo's out-of-distribution images."""

import numpy as np
import pytest
from mmpretrain.registry import DATASETS

from sotglp_mm.demo.datasets import HELD_OUT_PAIRS, class_parts


def build(kind: str, **settings):
    return DATASETS.build(dict(type='DemoUnseenDataset', kind=kind, **settings))


@pytest.mark.parametrize('kind', ['scenes', 'letters'])
def test_images_repeat_and_have_no_label(kind: str):
    dataset = build(kind, num_images=7, pipeline=[dict(type='PackInputs')])
    assert len(dataset) == 7
    first, again, other = dataset[3], dataset[3], dataset[4]
    assert first['inputs'].shape == (3, 64, 64)
    assert (first['inputs'] == again['inputs']).all()
    assert (first['inputs'] != other['inputs']).any()
    assert 'gt_label' not in first['data_samples']
    assert dataset.get_cat_ids(3) == []


def test_no_class_has_a_part_of_these_scenes():
    assert not set(HELD_OUT_PAIRS) & {part for parts in class_parts() for part in parts}


def test_letters_look_as_digits_do():
    """As grey, dark and coarse: what tells them apart is what is written."""
    letters = build('letters', num_images=200)
    digits = DATASETS.build(dict(type='DemoDigitsDataset', split='test'))
    found = np.stack([letters[i]['img'] for i in range(200)]).astype(float)
    expected = np.stack([digits[4 * i]['img'] for i in range(200)]).astype(float)
    assert (found[..., 0] == found[..., 2]).all()
    assert abs(found.mean() - expected.mean()) < 25
    assert abs(found.std() - expected.std()) < 25
    assert abs(found[:, :4].mean() - expected[:, :4].mean()) < 30


def test_unknown_kind():
    with pytest.raises(ValueError, match=r"no 'noise'; it has scenes, letters"):
        build('noise')

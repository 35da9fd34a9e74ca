"""scikit-learn's digits as an MMPretrain dataset."""

from itertools import combinations

import numpy as np
import pytest
from mmpretrain.registry import DATASETS
from sklearn.datasets import load_digits

from sotglp_mm.demo.datasets import DemoDigitsDataset

SPLITS = ('train', 'val', 'test')


def test_splits_hold_every_scan_once():
    datasets = {split: DemoDigitsDataset(split) for split in SPLITS}
    assert [len(dataset) for dataset in datasets.values()] == [640, 200, 957]
    scans = {
        split: [dataset.get_data_info(i)['scan'] for i in range(len(dataset))]
        for split, dataset in datasets.items()
    }
    for one, other in combinations(scans.values(), 2):
        assert not set(one) & set(other)
    assert sorted(scan for each in scans.values() for scan in each) == list(range(1797))


def test_every_class_has_enough_images():
    for split, least in zip(SPLITS, (64, 20, 90)):
        dataset = DATASETS.build(dict(type='DemoDigitsDataset', split=split))
        assert dataset.metainfo['classes'] == tuple('0123456789')
        assert np.bincount(dataset.get_gt_labels(), minlength=10).min() >= least


def test_an_item_is_its_scan_blown_up():
    dataset, digits = DemoDigitsDataset('val'), load_digits()
    for index in (0, 57, 199):
        item = dataset[index]
        image, scan = item['img'], digits.images[item['scan']]
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        assert item['img_shape'] == item['ori_shape'] == (64, 64)
        assert item['gt_label'] == digits.target[item['scan']]
        blocks = image[..., 0].reshape(8, 8, 8, 8).mean((1, 3))
        assert np.corrcoef(blocks.ravel(), scan.ravel())[0, 1] > 0.98
        assert image.max() > 230 and image.min() == 0
        assert (image == image[..., :1]).all()


def test_other_image_size():
    item = DemoDigitsDataset('test', image_size=32)[3]
    assert item['img'].shape == (32, 32, 3)
    assert item['img_shape'] == (32, 32)


def test_pipeline_and_repr():
    dataset = DemoDigitsDataset('train', pipeline=[dict(type='PackInputs')])
    assert dataset[0]['inputs'].shape == (3, 64, 64)
    assert 'train, drawn on demand' in repr(dataset)


def test_unknown_split():
    with pytest.raises(ValueError, match="no 'dev'; it has train, val, test"):
        DemoDigitsDataset('dev')

"""The demo's made-up classes: overlapping sets of parts, drawn on demand, disjoint splits."""

from itertools import combinations

import numpy as np
import pytest
from mmpretrain.registry import DATASETS

from sotglp_mm.demo.datasets import (
    CLASS_NAMES,
    HELD_OUT_PAIRS,
    DemoScenesDataset,
    class_parts,
    other_parts,
)
from sotglp_mm.demo.world import COLOURS, PAIRS, SHAPES, world_words


def test_builds_through_the_registry_and_counts_its_images():
    sizes = {'train': 64, 'val': 12, 'test': 40}
    for split, size in sizes.items():
        dataset = DATASETS.build(dict(type='DemoScenesDataset', split=split))
        counts = np.bincount(dataset.get_gt_labels(), minlength=len(CLASS_NAMES))
        assert (counts == size).all()
        assert dataset.metainfo['classes'] == CLASS_NAMES


def test_classes_overlap_but_differ_in_two_parts():
    sets = [set(parts) for parts in class_parts()]
    assert {len(parts) for parts in sets} == {3}
    overlaps = [len(a & b) for a, b in combinations(sets, 2)]
    assert max(overlaps) == 1
    shared = {part: sum(part in parts for parts in sets) for parts in sets for part in parts}
    assert set(shared.values()) == {2}


def test_held_out_pairs_use_every_colour_and_shape_and_never_occur():
    used = {name for parts in class_parts() for name in parts}
    assert not used & set(HELD_OUT_PAIRS)
    assert not set(other_parts()) & (used | set(HELD_OUT_PAIRS))
    assert {name.split()[0] for name in HELD_OUT_PAIRS} == set(COLOURS)
    assert {name.split()[1] for name in HELD_OUT_PAIRS} == set(SHAPES)
    assert used | set(other_parts()) | set(HELD_OUT_PAIRS) == set(PAIRS)
    dataset = DemoScenesDataset('val')
    shown = {part['name'] for i in range(len(dataset)) for part in dataset[i]['parts']}
    assert not shown & set(HELD_OUT_PAIRS)


def test_class_names_are_no_words_of_the_world():
    assert len(set(CLASS_NAMES)) == 24
    assert not set(CLASS_NAMES) & set(world_words())


def test_an_item():
    dataset = DemoScenesDataset('test')
    item = dataset[-1]
    assert item['img'].shape == (64, 64, 3) and item['img'].dtype == np.uint8
    assert item['img'].flags.c_contiguous
    assert item['img_shape'] == item['ori_shape'] == (64, 64)
    assert item['sample_idx'] == len(dataset) - 1
    assert item['gt_label'] == 23
    own = [part['name'] for part in item['parts'] if part['of_class']]
    assert len(own) in (2, 3) and set(own) <= set(class_parts()[23])
    assert len(item['parts']) == len(own) + 2


def test_channels_are_bgr():
    """A part's middle has its colour once the channels are turned round."""
    part, item = next(
        (part, item)
        for item in (DemoScenesDataset('train')[i] for i in range(200))
        for part in item['parts']
        if part['name'].endswith(('circle', 'square', 'heart', 'diamond'))
        and part['name'].startswith(('red', 'blue', 'yellow', 'brown'))
    )
    x, y = (int(v) for v in part['centre'])
    rgb = item['img'][y, x, ::-1].astype(int)
    distance = {name: np.abs(rgb - colour).sum() for name, colour in COLOURS.items()}
    assert min(distance, key=distance.get) == part['name'].split()[0]


def test_items_repeat_and_splits_are_disjoint():
    images = {}
    for split in ('train', 'val', 'test'):
        dataset = DemoScenesDataset(split)
        images[split] = {dataset[i]['img'].tobytes() for i in range(0, len(dataset), 7)}
        assert images[split] == {dataset[i]['img'].tobytes() for i in range(0, len(dataset), 7)}
    for one, other in combinations(images.values(), 2):
        assert not one & other


def test_pipeline_runs_on_the_drawn_image():
    dataset = DemoScenesDataset('train', pipeline=[dict(type='PackInputs')])
    packed = dataset[0]
    assert packed['inputs'].shape == (3, 64, 64)
    assert packed['data_samples'].gt_label.item() == 0


def test_printing_names_the_split():
    assert 'test, drawn on demand' in repr(DemoScenesDataset('test'))


def test_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="no 'trian'; it has train, val, test"):
        DemoScenesDataset('trian')
    with pytest.raises(ValueError, match='room for 0 to 6'):
        DemoScenesDataset(num_distractors=7)
    with pytest.raises(TypeError, match='num_distractors'):
        DemoScenesDataset(num_distractor=2)

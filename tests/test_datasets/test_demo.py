"""The demo's data: a generated world, made-up classes, real digits, and what is of no class."""

from itertools import combinations

import numpy as np
import open_clip
import pytest
from mmpretrain.registry import DATASETS
from sklearn.datasets import load_digits

from sotglp_mm.demo.captions import byte_pair_merges, draw_batch, write_merges
from sotglp_mm.demo.datasets import (
    CLASS_NAMES,
    HELD_OUT_PAIRS,
    DemoDigitsDataset,
    DemoScenesDataset,
    class_parts,
    other_parts,
)
from sotglp_mm.demo.world import (
    COLOURS,
    IMAGE_SIZE,
    PAIRS,
    PART_NAMES,
    SHAPES,
    caption,
    render_scene,
    world_words,
)

FIVE = ['red circle', 'blue star', '3', 'k', 'pink moon']
SPLITS = ('train', 'val', 'test')


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_seed_is_an_image():
    first, again, other = (render_scene(FIVE, rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.image, again.image)
    assert first.parts == again.parts
    assert (first.image != other.image).any()


def test_parts_do_not_overlap_and_lie_in_the_image():
    for seed in range(20):
        parts = render_scene(FIVE, rng(seed)).parts
        assert [part.name for part in parts] == FIVE
        cover = np.zeros((IMAGE_SIZE, IMAGE_SIZE), int)
        for x0, y0, x1, y1 in (part.box for part in parts):
            assert 0 <= x0 < x1 <= IMAGE_SIZE and 0 <= y0 < y1 <= IMAGE_SIZE
            cover[y0:y1, x0:x1] += 1
        assert cover.max() == 1


def test_every_part_is_drawn_inside_its_box():
    """What differs from the same scene without the part lies in the box, blur aside."""
    ground = render_scene([], rng(1), grid=2).image
    for name in PART_NAMES:
        scene = render_scene([name], rng(1), grid=2)
        x0, y0, x1, y1 = scene.parts[0].box
        changed = np.abs(scene.image.astype(int) - ground).max(-1) > 40
        assert changed[y0:y1, x0:x1].mean() > 0.05, name
        changed[max(y0 - 3, 0) : y1 + 3, max(x0 - 3, 0) : x1 + 3] = False
        assert not changed.any(), name


def test_covers_are_the_parts_pixels_and_boxes_bound_them():
    scene, ground = render_scene(FIVE, rng(4), grid=3), render_scene([], rng(4), grid=3)
    assert scene.covers.shape == (len(FIVE), IMAGE_SIZE, IMAGE_SIZE)
    for part, cover in zip(scene.parts, scene.covers):
        rows, columns = cover.any(1).nonzero()[0], cover.any(0).nonzero()[0]
        assert part.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    difference = np.abs(scene.image.astype(int) - ground.image).max(-1)
    assert (difference[scene.covers.any(0)] > 20).mean() > 0.95
    assert (difference[~scene.covers.any(0)] > 100).mean() < 0.01


def test_too_many_parts_for_the_lattice():
    with pytest.raises(ValueError, match='do not fit into a 2 x 2 lattice'):
        render_scene(FIVE, rng(), grid=2)


@pytest.mark.parametrize('size', [31, 128])
def test_no_caption_fits_a_second_scene(size):
    batch = draw_batch(size, rng(3))
    named = [c.removeprefix('a photo of a ').split(' and a ') for c in batch.captions]
    assert batch.images.shape == (size, IMAGE_SIZE, IMAGE_SIZE, 3)
    assert {len(names) for names in named} == {1, 2}
    for index, names in enumerate(named):
        assert [i for i, shown in enumerate(batch.shown) if set(names) <= set(shown)] == [index]


def test_every_word_of_the_world_is_one_token(tmp_path):
    merges = byte_pair_merges(world_words())
    write_merges(merges, tmp_path / 'bpe.txt.gz')
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(tmp_path / 'bpe.txt.gz'), context_length=32)
    assert tokenizer.vocab_size == 512 + len(merges) + 2
    for name in PART_NAMES:
        assert len(tokenizer.encode(caption([name]))) == 4 + len(name.split())
        assert tokenizer.decode(tokenizer.encode(name)).strip() == name


def test_builds_through_the_registry_and_counts_its_images():
    sizes = {'train': 64, 'val': 12, 'test': 40}
    for split, size in sizes.items():
        config = dict(type='DemoScenesDataset', split=split, pipeline=[dict(type='PackInputs')])
        dataset = DATASETS.build(config)
        assert dataset[0]['inputs'].shape == (3, 64, 64)
        counts = np.bincount(dataset.get_gt_labels(), minlength=len(CLASS_NAMES))
        assert (counts == size).all()
        assert dataset.metainfo['classes'] == CLASS_NAMES
    assert len(set(CLASS_NAMES)) == 24 and not set(CLASS_NAMES) & set(world_words())


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


def test_splits_hold_every_scan_once():
    config = dict(type='DemoDigitsDataset', pipeline=[dict(type='PackInputs')])
    datasets = {split: DATASETS.build(dict(config, split=split)) for split in SPLITS}
    assert datasets['val'][0]['inputs'].shape == (3, 64, 64)
    assert [len(dataset) for dataset in datasets.values()] == [640, 200, 957]
    for dataset, least in zip(datasets.values(), (64, 20, 90)):
        assert dataset.metainfo['classes'] == tuple('0123456789')
        assert np.bincount(dataset.get_gt_labels(), minlength=10).min() >= least
    scans = {
        split: [dataset.get_data_info(i)['scan'] for i in range(len(dataset))]
        for split, dataset in datasets.items()
    }
    for one, other in combinations(scans.values(), 2):
        assert not set(one) & set(other)
    assert sorted(scan for each in scans.values() for scan in each) == list(range(1797))
    assert DemoDigitsDataset('test', image_size=32)[3]['img'].shape == (32, 32, 3)


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


def unseen(kind: str, **settings):
    return DATASETS.build(dict(type='DemoUnseenDataset', kind=kind, **settings))


@pytest.mark.parametrize('kind', ['scenes', 'letters'])
def test_images_repeat_and_have_no_label(kind: str):
    dataset = unseen(kind, num_images=7, pipeline=[dict(type='PackInputs')])
    assert len(dataset) == 7
    first, again, other = dataset[3], dataset[3], dataset[4]
    assert first['inputs'].shape == (3, 64, 64)
    assert (first['inputs'] == again['inputs']).all()
    assert (first['inputs'] != other['inputs']).any()
    assert 'gt_label' not in first['data_samples']
    assert dataset.get_cat_ids(3) == []


def test_letters_look_as_digits_do():
    """As grey, dark and coarse: what tells them apart is what is written."""
    letters = unseen('letters', num_images=200)
    digits = DATASETS.build(dict(type='DemoDigitsDataset', split='test'))
    found = np.stack([letters[i]['img'] for i in range(200)]).astype(float)
    expected = np.stack([digits[4 * i]['img'] for i in range(200)]).astype(float)
    assert (found[..., 0] == found[..., 2]).all()
    assert abs(found.mean() - expected.mean()) < 25
    assert abs(found.std() - expected.std()) < 25
    assert abs(found[:, :4].mean() - expected[:, :4].mean()) < 30


def test_refuses_what_it_does_not_know():
    for part in (DemoScenesDataset, DemoDigitsDataset):
        with pytest.raises(ValueError, match="no 'dev'; it has train, val, test"):
            part('dev')
    with pytest.raises(ValueError, match=r"no 'noise'; it has scenes, letters"):
        unseen('noise')
    with pytest.raises(TypeError, match="no setting 'splits'; did you mean 'split'"):
        DemoScenesDataset(splits='val')

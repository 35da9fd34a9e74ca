"""The generated world: seeded, true to its annotations, with captions that fit one scene each."""

import gzip

import numpy as np
import open_clip
import pytest

from sotglp_mm.demo.captions import byte_pair_merges, draw_batch, write_merges
from sotglp_mm.demo.world import (
    COLOURS,
    DIGITS,
    IMAGE_SIZE,
    PAIRS,
    PART_NAMES,
    SHAPES,
    caption,
    render_scene,
    world_words,
)

FIVE = ['red circle', 'blue star', '3', 'k', 'pink moon']


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_seed_is_an_image():
    first, again, other = (render_scene(FIVE, rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.image, again.image)
    assert first.parts == again.parts
    assert (first.image != other.image).any()


def test_image_is_rgb_bytes_and_parts_keep_their_order():
    scene = render_scene(FIVE, rng())
    assert scene.image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert scene.image.dtype == np.uint8
    assert [part.name for part in scene.parts] == FIVE


@pytest.mark.parametrize('seed', range(20))
def test_parts_do_not_overlap_and_lie_in_the_image(seed):
    parts = render_scene(FIVE, rng(seed)).parts
    cover = np.zeros((IMAGE_SIZE, IMAGE_SIZE), int)
    for x0, y0, x1, y1 in (part.box for part in parts):
        assert 0 <= x0 < x1 <= IMAGE_SIZE and 0 <= y0 < y1 <= IMAGE_SIZE
        cover[y0:y1, x0:x1] += 1
    assert cover.max() == 1


@pytest.mark.parametrize('name', PART_NAMES)
def test_every_part_is_drawn_inside_its_box(name):
    """What differs from the same scene without the part lies in the box, blur aside."""
    scene, ground = render_scene([name], rng(1), grid=2), render_scene([], rng(1), grid=2)
    x0, y0, x1, y1 = scene.parts[0].box
    changed = np.abs(scene.image.astype(int) - ground.image).max(-1) > 40
    assert changed[y0:y1, x0:x1].mean() > 0.05
    changed[max(y0 - 3, 0) : y1 + 3, max(x0 - 3, 0) : x1 + 3] = False
    assert not changed.any()


def test_covers_are_the_parts_pixels_and_boxes_bound_them():
    scene, ground = render_scene(FIVE, rng(4), grid=3), render_scene([], rng(4), grid=3)
    assert scene.covers.shape == (len(FIVE), IMAGE_SIZE, IMAGE_SIZE)
    for part, cover in zip(scene.parts, scene.covers):
        rows, columns = cover.any(1).nonzero()[0], cover.any(0).nonzero()[0]
        assert part.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    difference = np.abs(scene.image.astype(int) - ground.image).max(-1)
    assert (difference[scene.covers.any(0)] > 20).mean() > 0.95
    assert (difference[~scene.covers.any(0)] > 100).mean() < 0.01


@pytest.mark.parametrize('colour', COLOURS)
def test_a_shape_has_its_colour(colour):
    scene = render_scene([f'{colour} square'], rng(2), grid=1)
    x, y = (int(v) for v in scene.parts[0].centre)
    distance = {
        name: np.abs(scene.image[y, x] - np.array(rgb)).sum() for name, rgb in COLOURS.items()
    }
    assert min(distance, key=distance.get) == colour


def test_names_are_complete_and_unique():
    assert len(PAIRS) == len(COLOURS) * len(SHAPES) == 96
    assert len(set(PART_NAMES)) == len(PART_NAMES)
    assert set(DIGITS) <= set(PART_NAMES)


def test_too_many_parts_for_the_lattice():
    with pytest.raises(ValueError, match='do not fit into a 2 x 2 lattice'):
        render_scene(FIVE, rng(), grid=2)


def test_caption():
    assert caption(['red circle']) == 'a photo of a red circle'
    assert caption(['red circle', '3']) == 'a photo of a red circle and a 3'


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


def test_merges_file_is_byte_reproducible(tmp_path):
    for name in ('one', 'other'):
        write_merges([('a', 'b'), ('ab', 'c</w>')], tmp_path / name)
    content = (tmp_path / 'one').read_bytes()
    assert content == (tmp_path / 'other').read_bytes()
    assert gzip.decompress(content).decode().split('\n')[1:] == ['a b', 'ab c</w>']

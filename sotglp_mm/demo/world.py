"""The generated world of the demo: named parts on dark textured grounds, and captions for them.

A part is a coloured shape ("red circle", 96 of them) or a glyph (a digit or a letter, "3"). A
scene is a few parts that do not overlap; where each one lies is known. NumPy and OpenCV only. All
randomness comes from the generator that the caller passes in, so a seed is an image.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .drawing import OUTLINES, glyph_mask, shape_mask, texture_bank

Array = np.ndarray
Random = np.random.Generator

IMAGE_SIZE = 64  # pixels, square

COLOURS = {
    'red': (230, 45, 45),
    'green': (50, 190, 60),
    'blue': (60, 100, 250),
    'yellow': (240, 220, 40),
    'purple': (165, 60, 215),
    'cyan': (50, 210, 220),
    'pink': (250, 130, 190),
    'brown': (160, 98, 45),
}
SHAPES = tuple(OUTLINES)
PAIRS = tuple(f'{colour} {shape}' for colour in COLOURS for shape in SHAPES)
DIGITS = tuple('0123456789')
LETTERS = tuple('cefhkmptux')
PART_NAMES = PAIRS + DIGITS + LETTERS
TEMPLATE = 'a photo of a {}'


class Part(NamedTuple):
    """One thing in a scene; positions in pixels."""

    name: str
    centre: tuple  # (x, y)
    box: tuple  # (x0, y0, x1, y1), x1 and y1 exclusive


class Scene(NamedTuple):
    """A picture and the truth about it."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    parts: tuple  # of Part, in the order of the names asked for
    covers: np.ndarray  # (parts, H, W) bool, the pixels that each one covers


def caption(names: Sequence[str]) -> str:
    """Name some parts: 'a photo of a red circle and a blue star'.

    The article is always 'a' ("a 8"), because the prompts of the method are 'a photo of a {}'.
    """
    return TEMPLATE.format(' and a '.join(names))


def world_words() -> list:
    """Every word of more than one letter that a caption can hold, and the article."""
    return ['a', 'photo', 'of', 'and', *COLOURS, *SHAPES]


def render_scene(names: Sequence[str], rng: np.random.Generator, grid: int = 0) -> Scene:
    """Draw the named parts, up to nine of PART_NAMES, at random places.

    They lie in the cells of a grid x grid lattice, so 1 means one large part and 3 means up to
    nine of 15 to 20 pixels; 0 draws a lattice with enough cells.
    """
    if not grid:
        smallest = int(np.ceil(np.sqrt(len(names))))
        grid = int(rng.integers(smallest, 4)) if smallest < 3 else 3
    if len(names) > grid * grid:
        raise ValueError(f'{len(names)} parts do not fit into a {grid} x {grid} lattice')
    image = _ground(rng)
    cell = IMAGE_SIZE / grid
    slots = rng.permutation(grid * grid)[: len(names)]
    parts, covers = [], np.zeros((len(names), IMAGE_SIZE, IMAGE_SIZE), bool)
    for name, cover, slot in zip(names, covers, slots):
        radius = cell / 2 * rng.uniform(0.72, 0.95)
        slack = cell / 2 - radius
        centre = (np.array([slot % grid, slot // grid]) + 0.5) * cell
        centre = centre + rng.uniform(-slack, slack, 2)
        parts.append(_draw_part(image, cover, name, centre, radius, rng))
    return Scene(np.clip(image, 0, 255).astype(np.uint8), tuple(parts), covers)


def _ground(rng: np.random.Generator) -> np.ndarray:
    """A dark textured ground, (IMAGE_SIZE, IMAGE_SIZE, 3) float32 in 0-255."""
    # all parts are lighter: a shape is the same silhouette in every colour. On grounds of any
    # brightness a small tower learns the colours and then, for very long, nothing about shapes
    bank = texture_bank()
    texture = bank[rng.integers(len(bank))]
    y, x = rng.integers(0, texture.shape[0] - IMAGE_SIZE + 1, 2)
    texture = texture[y : y + IMAGE_SIZE, x : x + IMAGE_SIZE]
    texture = texture[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
    tone = rng.uniform(12, 55) + rng.uniform(-10, 10, 3)
    contrast = rng.uniform(3, 20) * rng.uniform(0.7, 1.0, 3)
    return texture[..., None] * contrast.astype(np.float32) + tone.astype(np.float32)


def _draw_part(
    image: Array, cover: Array, name: str, centre: Array, radius: float, rng: Random
) -> Part:
    """Blend one part into `image`, mark it in `cover`, and return where it lies."""
    x, y = np.floor(centre - radius).astype(int)
    size, local = int(np.ceil(2 * radius)) + 1, centre - (x, y)
    if name in PAIRS:
        colour, shape = name.split()
        matrix = _affine(local, radius * 0.9, rng, turn=0.25, shear=0.1, squeeze=0.9)
        mask = shape_mask(shape, matrix, size)
        tone = np.array(COLOURS[colour]) * rng.uniform(0.85, 1.08) + rng.uniform(-14, 14, 3)
    else:
        matrix = _affine(local, radius * 0.82, rng, turn=0.22, shear=0.25, squeeze=0.65)
        mask = glyph_mask(name, matrix, size, rng, radius * rng.uniform(0.14, 0.42))
        if rng.random() >= 0.5:  # half of them, up to what an 8 x 8 scan blown up looks like
            mask = cv2.GaussianBlur(mask, (0, 0), radius * rng.uniform(0.03, 0.16))
        tone = rng.uniform(190, 255) + rng.uniform(-6, 6, 3)
    x0, y0 = max(-x, 0), max(-y, 0)
    mask = mask[y0 : IMAGE_SIZE - y, x0 : IMAGE_SIZE - x]
    x, y = x + x0, y + y0
    here = np.s_[y : y + mask.shape[0], x : x + mask.shape[1]]
    image[here] += mask[..., None] * np.float32(1 / 255) * (tone.astype(np.float32) - image[here])
    cover[here] = mask > 100
    left, top, width, height = cv2.boundingRect(cover.view(np.uint8))
    box = (left, top, left + width, top + height)
    return Part(name, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), box)


def _affine(
    centre: Array, radius: float, rng: Random, turn: float, shear: float, squeeze: float
) -> Array:
    """A random affine map (2, 3): unit square to pixels. `turn` in radians, both ways."""
    a = rng.uniform(-turn, turn)
    rotation = np.array([(np.cos(a), -np.sin(a)), (np.sin(a), np.cos(a))])
    stretch = np.diag([rng.uniform(squeeze, 1.0), rng.uniform(0.9, 1.0)])
    slant = np.array([(1.0, rng.uniform(-shear, shear)), (0.0, 1.0)])
    return np.concatenate([radius * rotation @ slant @ stretch, centre[:, None]], 1)

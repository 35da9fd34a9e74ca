"""Batches of photographs, mosaics and drawn scenes, and the captions of their classes.

Batch number `step` is drawn from (seed, step) alone, so a run that was killed goes on with the
batches that it would have seen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from photo_folder import SIZE, Photos

from sotglp_mm.demo.world import PAIRS, PART_NAMES, TEMPLATE, render_scene

PATCH = 8  # pixels of a side
GRID = SIZE // PATCH
REGIONS = 4  # at most, of one image
# The method's prompts start with the first one, so it comes most often.
TEMPLATES = (TEMPLATE, TEMPLATE, TEMPLATE, 'a picture of a {}', 'a photo of the {}', 'a {}', '{}')
# Glyphs differ by finer detail than coloured shapes and take longer to learn: show them more.
_PART_SHARES = np.array([1.0 if name in PAIRS else 2.0 for name in PART_NAMES])
_PART_SHARES /= _PART_SHARES.sum()


class Pictures(NamedTuple):
    """Images, and what is where in them."""

    images: np.ndarray  # (B, S, S, 3) uint8 RGB
    labels: np.ndarray  # (B, R) classes of the regions, -1 where there are fewer
    regions: np.ndarray | None  # (B, R, P) share of each patch in a region, rows add up to 1


def draw_photos(photos: Photos, count: int, size: int, rng: np.random.Generator) -> Pictures:
    """Random crops of `count` photographs, scaled to `size` pixels."""
    chosen = rng.integers(len(photos.labels), size=count)
    images = [_crop(photos.images[i], size, size, rng) for i in chosen]
    return Pictures(_stack(images, size), photos.labels[chosen, None], None)


def draw_mosaics(photos: Photos, count: int, rng: np.random.Generator) -> Pictures:
    """Four photographs in each image, one in each corner; they meet at a random patch corner."""
    chosen = rng.integers(len(photos.labels), size=(count, REGIONS))
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    regions = np.zeros((count, REGIONS, GRID, GRID), np.float32)
    for image, region, four in zip(images, regions, chosen):
        row, column = rng.integers(GRID // 2 - 1, GRID // 2 + 2, size=2)
        places = [(r, c) for r in (slice(0, row), slice(row, GRID))
                  for c in (slice(0, column), slice(column, GRID))]  # fmt: skip
        for index, mask, (r, c) in zip(four, region, places):
            mask[r, c] = 1
            pixels = [slice(s.start * PATCH, s.stop * PATCH) for s in (r, c)]
            height, width = (s.stop - s.start for s in pixels)
            image[tuple(pixels)] = _crop(photos.images[index], height, width, rng)
    return Pictures(images, photos.labels[chosen], _shares(regions))


def draw_scenes(count: int, first_label: int, rng: np.random.Generator) -> Pictures:
    """Drawn scenes of one to four parts; part number i of PART_NAMES has label first_label + i."""
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.full((count, REGIONS), -1)
    regions = np.zeros((count, REGIONS, GRID, GRID), np.float32)
    for image, label, region in zip(images, labels, regions):
        number = rng.integers(1, REGIONS + 1)
        parts = rng.choice(len(PART_NAMES), number, replace=False, p=_PART_SHARES)
        scene = render_scene([PART_NAMES[i] for i in parts], rng)
        image[:] = scene.image
        label[:number] = first_label + parts
        covers = scene.covers.reshape(number, GRID, PATCH, GRID, PATCH)
        region[:number] = covers.mean((2, 4), dtype=np.float32)
    return Pictures(images, labels, _shares(regions))


def draw_captions(names: Sequence[Sequence[str]], rng: np.random.Generator) -> list[str]:
    """One caption a class: a random template, and the first name in half of the cases."""
    captions = []
    for several in names:
        name = several[0 if rng.random() < 0.5 else int(rng.integers(len(several)))]
        captions.append(TEMPLATES[rng.integers(len(TEMPLATES))].format(name))
    return captions


def _crop(image: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A random part of an image, mirrored in half of the cases, scaled to (height, width)."""
    side = SIZE * np.sqrt(rng.uniform(0.35, 1))
    aspect = np.sqrt(width / height) * np.exp(rng.uniform(-0.14, 0.14))
    h, w = (min(round(length), SIZE) for length in (side / aspect, side * aspect))
    top, left = rng.integers(SIZE - h + 1), rng.integers(SIZE - w + 1)
    part = image[top : top + h, left : left + w][:, :: rng.choice((-1, 1))]
    method = cv2.INTER_AREA if h > height else cv2.INTER_LINEAR
    scaled = cv2.resize(part, (width, height), interpolation=method)
    return cv2.LUT(scaled, _brightness(rng))


def _brightness(rng: np.random.Generator) -> np.ndarray:
    """Random contrast and brightness, as a table of 256 values."""
    values = (np.arange(256) - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-25, 25)
    return np.clip(values, 0, 255).astype(np.uint8)


def _stack(images: list[np.ndarray], size: int) -> np.ndarray:
    return np.stack(images) if images else np.empty((0, size, size, 3), np.uint8)


def _shares(regions: np.ndarray) -> np.ndarray:
    """(B, R, GRID, GRID) weights as (B, R, P) that add up to 1 over the patches."""
    flat = regions.reshape(*regions.shape[:2], GRID * GRID)
    return flat / np.maximum(flat.sum(-1, keepdims=True), 1e-6)

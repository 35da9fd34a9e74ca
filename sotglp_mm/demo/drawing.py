"""What the generated demo world is drawn with: shape outlines, pen strokes and textures.

Imports NumPy and OpenCV only. Coordinates are (x, y), y down. Outlines are polygons of about unit
radius around (0, 0); strokes are polylines in the same square. Glyphs are strokes of our own and
not OpenCV's fonts, because those differ between OpenCV versions.
"""

from functools import lru_cache

import cv2
import numpy as np

# OpenCV takes integer vertices with fractional bits: 1/16 pixel.
_SHIFT = 4


def _arc(
    start: float, stop: float, radius: float = 1.0, centre: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Points (24, 2) on an arc; angles in degrees, clockwise from the right."""
    angle = np.deg2rad(np.linspace(start, stop, 24))
    return np.stack([np.cos(angle), np.sin(angle)], 1) * radius + np.asarray(centre)


def _star() -> np.ndarray:
    angle = np.pi * np.arange(10) / 5 - np.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 1.08, 0.42)
    return np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x / 16, -(y + 2.5) / 15], 1)


def _square(side: float) -> np.ndarray:
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * side


def _moon() -> np.ndarray:
    outer, inner = _arc(50, 310), _arc(292, 68, 0.82, (0.36, 0))
    return np.concatenate([outer, inner]) + np.array([0.12, 0])


def _cross() -> np.ndarray:
    corners = [np.array([(1, 0.34), (0.34, 0.34), (0.34, 1)])]
    for _ in range(3):  # a quarter turn: (x, y) to (-y, x)
        corners.append(corners[-1] @ np.array([(0, 1), (-1, 0)]))
    return np.concatenate(corners)


# Each shape is a list of contours; a second contour is a hole (even-odd filling).
OUTLINES = {
    'circle': [_arc(0, 345, 0.95)],
    'square': [_square(0.82)],
    'triangle': [np.array([(0, -1), (1, 0.8), (-1, 0.8)])],
    'star': [_star()],
    'cross': [_cross()],
    'ring': [_arc(0, 345), _arc(0, 345, 0.52)],
    'heart': [_heart()],
    'diamond': [np.array([(0, -1.1), (0.68, 0), (0, 1.1), (-0.68, 0)])],
    'moon': [_moon()],
    'arrow': [
        np.array(
            [(-1, -0.3), (0.1, -0.3), (0.1, -0.85), (1.05, 0), (0.1, 0.85), (0.1, 0.3), (-1, 0.3)]
        )
    ],
    'frame': [_square(0.86), _square(0.46)],
    'hourglass': [np.array([(-0.8, -1), (0.8, -1), (-0.8, 1), (0.8, 1)])],
}

# Pen strokes in a unit square: '~' before the points means a smooth curve through them.
_STROKES = {
    '0': ['~ .5 .04 .22 .2 .15 .55 .3 .9 .55 .95 .8 .72 .83 .35 .68 .1 .5 .04'],
    '1': [' .3 .25 .56 .05 .54 .95'],
    '2': ['~ .2 .27 .42 .05 .72 .15 .68 .48 .2 .93', ' .2 .93 .85 .92'],
    '3': ['~ .2 .12 .55 .04 .74 .24 .42 .46', '~ .42 .46 .8 .66 .62 .93 .18 .88'],
    '4': [' .6 .05 .15 .62 .86 .62', ' .66 .35 .62 .97'],
    '5': [' .8 .07 .3 .07 .25 .46', '~ .25 .46 .6 .4 .8 .66 .6 .93 .2 .9'],
    '6': ['~ .7 .05 .35 .3 .2 .68 .42 .95 .75 .82 .66 .55 .26 .62'],
    '7': [' .15 .08 .82 .08 .4 .97'],
    '8': ['~ .5 .48 .24 .26 .5 .04 .76 .24 .5 .48 .2 .75 .5 .96 .8 .74 .5 .48'],
    '9': ['~ .74 .3 .5 .5 .25 .28 .5 .05 .75 .22 .72 .6 .52 .97'],
    'c': ['~ .82 .25 .55 .05 .25 .25 .18 .6 .4 .93 .82 .8'],
    'e': ['~ .2 .52 .8 .46 .62 .1 .28 .22 .2 .65 .45 .94 .82 .8'],
    'f': [' .8 .06 .25 .06 .25 .96', ' .25 .48 .7 .48'],
    'h': [' .22 .05 .22 .95', ' .8 .05 .8 .95', ' .22 .5 .8 .5'],
    'k': [' .22 .05 .22 .95', ' .8 .08 .24 .55 .82 .95'],
    'm': [' .1 .95 .16 .06 .5 .6 .84 .06 .9 .95'],
    'p': [' .25 .05 .25 .96', '~ .25 .07 .68 .08 .8 .3 .66 .5 .25 .52'],
    't': [' .12 .08 .88 .08', ' .5 .08 .5 .96'],
    'u': ['~ .18 .05 .2 .6 .35 .93 .65 .93 .8 .6 .82 .05'],
    'x': [' .15 .06 .85 .94', ' .85 .06 .15 .94'],
}


def _smooth(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """A Catmull-Rom curve through `points` (n, 2); shape ((n - 1) * steps + 1, 2)."""
    p = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.transpose(1, 0, 2).reshape(-1, 2), points[-1:]])


def _parse(stroke: str) -> tuple[bool, np.ndarray]:
    points = np.array(stroke.lstrip('~').split(), dtype=float).reshape(-1, 2)
    return stroke[0] == '~', (points - 0.5) * 2


GLYPHS = {name: [_parse(stroke) for stroke in strokes] for name, strokes in _STROKES.items()}


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def shape_mask(name: str, matrix: np.ndarray, size: int) -> np.ndarray:
    """Fill one shape. `matrix` (2, 3) maps outline to pixels; returns (size, size) uint8 cover."""
    contours = [outline @ matrix[:, :2].T + matrix[:, 2] for outline in OUTLINES[name]]
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [_fixed(c) for c in contours], 255, cv2.LINE_AA, _SHIFT)
    return mask


def glyph_mask(
    name: str, matrix: np.ndarray, size: int, rng: np.random.Generator, thickness: float
) -> np.ndarray:
    """Write one glyph with a pen `thickness` pixels wide and an unsteady hand.

    Every control point moves a little, so no two are alike. Returns (size, size) uint8 cover.
    """
    mask = np.zeros((size, size), np.uint8)
    lines = []
    for is_curve, points in GLYPHS[name]:
        points = points + rng.uniform(-0.07, 0.07, points.shape)
        points = _smooth(points) if is_curve else points
        lines.append(_fixed(points @ matrix[:, :2].T + matrix[:, 2]))
    cv2.polylines(mask, lines, False, 255, max(1, round(thickness)), cv2.LINE_AA, _SHIFT)
    return mask


@lru_cache(maxsize=1)
def texture_bank(count: int = 64, size: int = 96) -> np.ndarray:
    """Grey textures with values in [-1, 1], shape (count, size, size); drawn once, then cut up."""
    rng = np.random.default_rng(20260308)
    y, x = np.mgrid[:size, :size] / size
    bank = []
    for index in range(count):
        angle, frequency = rng.uniform(0, np.pi), rng.uniform(2, 14)
        wave = np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)))
        cells = int(rng.integers(3, 24))
        coarse = rng.uniform(-1, 1, (cells, cells))
        clouds = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        checks = np.sign(np.sin(frequency * np.pi * x) * np.sin(frequency * np.pi * y))
        slope = 2 * (x * np.cos(2 * angle) + y * np.sin(2 * angle)) - 1
        texture = (wave, clouds, checks, clouds, slope)[index % 5]
        texture = 0.85 * texture + 0.15 * rng.uniform(-1, 1, (size, size))
        bank.append(np.clip(texture, -1, 1))
    return np.asarray(bank, np.float32)

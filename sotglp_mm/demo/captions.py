"""Scenes with captions for contrastive pretraining, and the byte-pair merges of their words.

NumPy only. A caption names some of a scene's parts; within one batch no caption fits a second
scene, so the contrastive loss meets no false negative.
"""

import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .world import PAIRS, PART_NAMES, caption, render_scene

# Glyphs differ by finer detail than coloured shapes and take longer to learn: show them more.
_WEIGHTS = np.array([1.0 if name in PAIRS else 2.0 for name in PART_NAMES])
_BPE_HEADER = '#version: sotglp demo world'


class CaptionedScenes(NamedTuple):
    """One pretraining batch."""

    images: np.ndarray  # (B, H, W, 3) uint8, RGB
    captions: list  # of B strings
    shown: list  # of B lists of part names: all that is in the picture


def draw_batch(size: int, rng: np.random.Generator, single_share: float = 0.3) -> CaptionedScenes:
    """Draw scenes and captions, none of which fits another scene of the batch.

    Some parts are kept for one scene each, whose caption names that part alone; the other scenes
    show parts of the rest, and their captions name two. ``single_share`` of the captions name one
    part; at most 40 % of the names are kept for them.
    """
    singles = min(int(size * single_share), int(0.4 * len(PART_NAMES)))
    kept = _choose(np.arange(len(PART_NAMES)), singles, rng)
    rest = np.setdiff1d(np.arange(len(PART_NAMES)), kept)
    shown, named = [], []
    for index in range(size):
        if index < singles:
            extras = _choose(rest, rng.choice(4, p=(0.45, 0.25, 0.2, 0.1)), rng)
            shown.append({kept[index], *extras})
            named.append((kept[index],))
        else:
            parts, pair = _draw_pair(rest, shown, named[singles:], rng)
            shown.append(parts)
            named.append(pair)
    contents = [_names(sorted(parts)) for parts in shown]
    images = [render_scene(names, rng).image for names in contents]
    return CaptionedScenes(np.stack(images), [caption(_names(n)) for n in named], contents)


def draw_single_parts(size: int, rng: np.random.Generator) -> CaptionedScenes:
    """The easiest batch: one large part in each picture, all different, with its own caption."""
    names = _names(rng.permutation(len(PART_NAMES))[:size])
    images = [render_scene([name], rng, grid=int(rng.integers(1, 3))).image for name in names]
    return CaptionedScenes(np.stack(images), [caption([n]) for n in names], [[n] for n in names])


def _choose(names: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` different ones of `names` by their weights, in random order (Gumbel's way)."""
    keys = np.log(_WEIGHTS[names]) + rng.gumbel(size=len(names))
    return names[np.argsort(-keys)[:count]]


def _draw_pair(
    rest: np.ndarray, shown: Sequence[set], named: Sequence[tuple], rng: np.random.Generator
) -> tuple[set, tuple]:
    """Parts of a new scene and the two to name; neither fits a scene drawn before."""
    for _ in range(20):
        chosen = _choose(rest, int(rng.choice((2, 3, 4), p=(0.45, 0.35, 0.2))), rng)
        pair, parts = tuple(chosen[:2]), set(chosen)
        # in small batches of few names an overlap may be unavoidable: the last try then stands
        fits = any(parts.issuperset(n) for n in named) or any(s.issuperset(pair) for s in shown)
        if not fits:
            break
    return parts, pair


def _names(indices: Iterable[int]) -> list[str]:
    return [PART_NAMES[i] for i in indices]


def byte_pair_merges(words: Sequence[str]) -> list:
    """Merges (left, right) after which every one of `words` is a single token.

    Each word is reduced by the merges made before it, then joined from the left. A later merge
    cannot break an earlier word, because earlier merges go first.
    """
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = [*word[:-1], word[-1] + '</w>']
        for merge in merges:
            pieces = _apply_merge(pieces, merge)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = _apply_merge(pieces, merges[-1])
    return merges


def _apply_merge(pieces: list[str], merge: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == merge:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def write_merges(merges: Sequence[tuple], path: Path) -> None:
    """Write merges as open_clip's SimpleTokenizer reads them; the same bytes every time."""
    text = '\n'.join([_BPE_HEADER, *(' '.join(merge) for merge in merges)])
    buffer = io.BytesIO()
    # no file name and no time in the header: both would differ between runs
    with gzip.GzipFile(filename='', mode='wb', fileobj=buffer, mtime=0) as stream:
        stream.write(text.encode('utf-8'))
    Path(path).write_bytes(buffer.getvalue())

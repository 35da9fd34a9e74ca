"""Is a file an open_clip model config that can be built? Told before anything is."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..io.json_file import read_json

SIZES = {
    'vision_cfg': ('layers', 'width', 'head_width', 'patch_size', 'image_size'),
    'text_cfg': ('layers', 'width', 'heads', 'context_length', 'vocab_size'),
}
"""Whole numbers of at least 1, where they are given."""

PLAIN_ONLY = (
    'only plain open_clip ViTs (a VisionTransformer and a causal CLIP text tower) are supported'
)

LARGEST = 5e9
"""Weights of a CLIP; the largest that open_clip knows as a plain ViT has half of that."""


def read_clip_config(path: Path) -> dict:
    """An open_clip model config.

    Raises:
        ValueError: It is none, or its sizes are no sizes.
    """
    config = read_json(path, 'model config')
    parts = ('embed_dim', *SIZES)
    missing = [p for p in parts if not isinstance(config, dict) or p not in config]
    if missing:
        raise ValueError(f'{path} is no open_clip model config: it lacks {missing}')
    for key, value in _wrong_values(config):
        raise ValueError(f'{path} is no open_clip model config: {key} is {str(value)[:60]!r}')
    count = _weights(config)
    if not count < LARGEST:
        raise ValueError(f'{path}: a CLIP of {count:.2g} weights; expected at most {LARGEST:.0e}')
    return config


def check_kind(model_name: str, config: dict) -> None:
    """Refuse towers of another kind, which the model config tells.

    Raises:
        TypeError: It is not a plain ViT with a causal CLIP text tower.
    """
    vision, text = config['vision_cfg'], config['text_cfg']
    if isinstance(vision.get('layers'), list):
        raise TypeError(
            f'{model_name}: ResNet towers are not supported yet; {PLAIN_ONLY}. Take a ViT, e.g. '
            "clip = dict(model_name='ViT-B-16', pretrained='openai')"
        )
    if config.get('custom_text', False) or 'multimodal_cfg' in config:
        raise TypeError(f'{model_name}: {PLAIN_ONLY}, and its text tower is a custom one')
    foreign = {
        'image tower': vision.get('timm_model_name'),
        'text tower': text.get('hf_model_name'),
        'tokenizer': text.get('hf_tokenizer_name'),
    }
    for part, is_foreign in foreign.items():
        if is_foreign:
            raise TypeError(f"{model_name}: {PLAIN_ONLY}, and its {part} is not CLIP's ViT kind")


@contextmanager
def naming_config(model_name: str) -> Iterator[None]:
    """open_clip tells of a config that it cannot build as Python does of a wrong argument."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f'{model_name}: open_clip builds no CLIP of this model config '
            f'({type(error).__name__}: {str(error)[:300]})'
        ) from error


def _wrong_values(config: dict) -> list[tuple[str, Any]]:
    wrong = [] if _is_size(config['embed_dim']) else [('embed_dim', config['embed_dim'])]
    if type(config.get('quick_gelu', False)) is not bool:
        wrong.append(('quick_gelu', config['quick_gelu']))
    for part, names in SIZES.items():
        given = config[part]
        if not isinstance(given, dict):
            wrong.append((part, given))
            continue
        sizes = {name: given[name] for name in names if name in given}
        wrong += [(f'{part}.{name}', v) for name, v in sizes.items() if not _are_sizes(name, v)]
        ratio = given.get('mlp_ratio', 4.0)
        if type(ratio) not in (int, float) or not 0 < ratio < 100:
            wrong.append((f'{part}.mlp_ratio', ratio))
        if not isinstance(given.get('tokenizer_kwargs') or {}, dict):
            wrong.append((f'{part}.tokenizer_kwargs', given['tokenizer_kwargs']))
    return wrong


def _are_sizes(name: str, value: Any) -> bool:
    """An image has one or two sides; a ResNet has four stages, and is refused later by name."""
    several = {'image_size': 2, 'layers': 4}.get(name)
    if several and isinstance(value, list):
        return len(value) == several and all(map(_is_size, value))
    return _is_size(value)


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 1


def _weights(config: dict) -> float:
    """About how many; open_clip's defaults where a size is not given."""
    vision, text = config['vision_cfg'], config['text_cfg']
    width, patch = vision.get('width', 768), vision.get('patch_size', 16)
    image = vision.get('image_size', 224)
    sides = image if isinstance(image, list) else (image, image)
    patches = math.prod(side // patch for side in sides)
    words, length = text.get('vocab_size', 49408), text.get('context_length', 77)
    text_width, both = text.get('width', 512), config['embed_dim']
    return (
        _of_blocks(vision, width)
        + _of_blocks(text, text_width)
        + width * (patches + 3 * patch**2 + both)
        + text_width * (words + length + both)
        + length**2
    )


def _of_blocks(part: dict, width: int) -> float:
    layers = part.get('layers', 12)
    count = sum(layers) if isinstance(layers, list) else layers
    return count * width**2 * (4 + 2 * part.get('mlp_ratio', 4.0))

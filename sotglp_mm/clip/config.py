"""Which open_clip model configs are supported; said before anything is fetched or built."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..io.json_file import read_json

SIZES = {
    'vision_cfg': ('layers', 'width', 'head_width', 'patch_size', 'image_size'),
    'text_cfg': ('layers', 'width', 'heads', 'context_length', 'vocab_size'),
}
PLAIN_ONLY = (
    'only plain open_clip ViTs (a VisionTransformer and a causal CLIP text tower) are supported'
)
LARGEST = 5e9
"""Weights of a CLIP; the largest that open_clip knows as a plain ViT has half of that."""


def read_clip_config(path: Path) -> dict:
    """An open_clip model config; ``ValueError``: it is none, or too large for any CLIP."""
    config = read_json(path, 'model config')
    missing = [p for p in ('embed_dim', *SIZES) if not isinstance(config, dict) or p not in config]
    if missing:
        raise ValueError(f'{path} is no open_clip model config: it lacks {missing}')
    given = {name: config.get(name, 1) for name in ('embed_dim', 'quick_gelu')}
    for part, names in SIZES.items():
        if not isinstance(config[part], dict):
            raise ValueError(f'{path} is no open_clip model config: {part} is {config[part]!r}')
        given |= {f'{part}.{name}': config[part].get(name, 1) for name in names}
    for key, value in given.items():
        sizes = value if isinstance(value, list) else [value]  # of an image, two sides
        known = (bool, int) if key == 'quick_gelu' else (int,)
        if not all(type(size) in known and (size >= 1 or size is False) for size in sizes):
            raise ValueError(f'{path} is no open_clip model config: {key} is {str(value)[:60]!r}')
    with naming_config(str(path)):
        count = _weights(config)
    if not count < LARGEST:
        raise ValueError(f'{path}: a CLIP of {count:.2g} weights; expected at most {LARGEST:.0e}')
    return config


def check_kind(model_name: str, config: dict) -> None:
    """Raise ``TypeError`` unless it is a plain ViT with a causal CLIP text tower."""
    vision, text = config['vision_cfg'], config['text_cfg']
    if isinstance(vision.get('layers'), list):
        raise TypeError(
            f'{model_name}: ResNet towers are not supported yet; {PLAIN_ONLY}. Take a ViT, e.g. '
            "clip = dict(model_name='ViT-B-16', pretrained='openai')"
        )
    if config.get('custom_text', False) or 'multimodal_cfg' in config:
        raise TypeError(f'{model_name}: {PLAIN_ONLY}, and its text tower is a custom one')
    for part, is_foreign in (
        ('image tower', vision.get('timm_model_name')),
        ('text tower', text.get('hf_model_name')),
        ('tokenizer', text.get('hf_tokenizer_name')),
    ):
        if is_foreign:
            raise TypeError(f"{model_name}: {PLAIN_ONLY}, and its {part} is not CLIP's ViT kind")


@contextmanager
def naming_config(model_name: str) -> Iterator[None]:
    """open_clip reports a config that it cannot build as Python does a wrong argument."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f'{model_name}: open_clip builds no CLIP of this model config '
            f'({type(error).__name__}: {str(error)[:300]})'
        ) from error


def _weights(config: dict) -> float:
    """About how many; open_clip's defaults where a size is not given."""
    count = 0.0
    for part, width in (config['vision_cfg'], 768), (config['text_cfg'], 512):
        layers, width = part.get('layers', 12), part.get('width', width)
        in_all = sum(layers) if isinstance(layers, list) else layers
        count += in_all * width**2 * (4 + 2 * float(part.get('mlp_ratio', 4)))
        image, patch = part.get('image_size', 224), part.get('patch_size', 16)
        sides = image if isinstance(image, list) else (image, image)
        inputs = math.prod(side // patch for side in sides) + 3 * patch**2
        length = part.get('context_length', 77)
        count += width * (inputs + part.get('vocab_size', 49408) + length + config['embed_dim'])
        count += length**2
    return count

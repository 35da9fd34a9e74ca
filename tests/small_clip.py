"""A CLIP smaller than the parity fixtures' one, written to disk with formula weights."""

import json
from pathlib import Path

import open_clip
import torch
from released import formula_weights

CONFIG = dict(
    embed_dim=10,
    vision_cfg=dict(image_size=12, patch_size=4, layers=2, width=24, head_width=8),
    text_cfg=dict(context_length=77, vocab_size=49408, width=16, heads=2, layers=1),
)


def config_with(vision: dict = {}, text: dict = {}, **top) -> dict:
    """``CONFIG`` with some entries changed."""
    changed = {**CONFIG, **top}
    changed['vision_cfg'] = {**changed['vision_cfg'], **vision}
    changed['text_cfg'] = {**changed['text_cfg'], **text}
    return changed


def small_state(config: dict = CONFIG, seed: int = 3) -> dict[str, torch.Tensor]:
    """Formula weights of a model config."""
    with torch.random.fork_rng():
        state = open_clip.CLIP(**config).state_dict()
    return formula_weights(state, seed)


def write_model(folder: Path, config: dict = CONFIG) -> str:
    """A model-config JSON; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / 'small.json'
    file.write_text(json.dumps(config))
    return str(file)


def write_clip(folder: Path, config: dict = CONFIG) -> dict:
    """Model config and weights; what a config calls ``clip``."""
    weights = folder / 'small.pt'
    model_name = write_model(folder, config)
    torch.save(small_state(config), weights)
    return dict(model_name=model_name, pretrained=str(weights))


def classifier(clip: dict, **parts) -> dict:
    """A CLIPClassifier's config; ``parts`` replace its own."""
    selector = dict(type='SparsePatchSelector', k=3)
    given = dict(
        backbone=dict(type='OpenCLIPViT'),
        neck=dict(type='LocalProjectionNeck'),
        head=dict(type='SOTGLPHead', class_names=['cat', 'dog'], selector=selector),
    )
    return dict(type='CLIPClassifier', clip=clip, **{**given, **parts})

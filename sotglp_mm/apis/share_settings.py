"""One CLIP for all parts of a config, overridden in one line."""

from copy import deepcopy
from typing import Any

from mmengine.config import Config

SHARED = {'clip': ('model',)}
"""Top-level settings, and the parts that they go into."""


def share_settings(cfg: Config) -> None:
    """Hand a new top-level ``clip`` on to the parts that had the old one.

    Python copies ``clip`` into backbone, neck and head when a config is read; a derived config, or
    ``--cfg-options clip.pretrained=...``, then changes the name but not the copies. The base
    config therefore keeps what it wrote into them as ``clip_of_parts``. A part that was given
    another ``clip`` of its own keeps it.

    Args:
        cfg: A whole config; changed in place.
    """
    for name, parts in SHARED.items():
        new, written = cfg.get(name), cfg.get(f'{name}_of_parts')
        if new is None or written is None or new == written:
            continue
        for part in parts:
            _replace(cfg.get(part), written, new)
        cfg[f'{name}_of_parts'] = deepcopy(new)


def _replace(node: Any, written: Any, new: Any) -> None:
    if isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    else:
        return
    for key, child in items:
        if child == written:
            node[key] = deepcopy(new)
        else:
            _replace(child, written, new)

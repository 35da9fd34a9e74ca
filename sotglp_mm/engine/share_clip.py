"""One CLIP for all parts of a config, overridden in one line."""

from mmengine.config import Config


def share_clip(cfg: Config) -> None:
    """Hand a new top-level ``clip`` on to the parts that were written with the old one.

    Python copies ``clip`` into backbone, neck and head when a config is read; a derived config, or
    ``--cfg-options clip.pretrained=...``, then changes the name but not the copies. The base
    config therefore keeps what it wrote into them as ``clip_of_parts``. A part that was given
    another ``clip`` of its own keeps it.

    Args:
        cfg: A whole config; changed in place.
    """
    new, written = cfg.get('clip'), cfg.get('clip_of_parts')
    if new is None or written is None or new == written:
        return
    _replace(cfg.model, written, new)
    cfg.clip_of_parts = new


def _replace(node, written: dict, new: dict) -> None:
    if isinstance(node, dict):
        if node.get('clip') == written:
            node['clip'] = new.copy()
        for child in node.values():
            _replace(child, written, new)
    elif isinstance(node, list | tuple):
        for child in node:
            _replace(child, written, new)

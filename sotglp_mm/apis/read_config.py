"""A config as our tools run it, for programs of one's own."""

from pathlib import Path

from mmengine.config import Config

from ..class_names.resolve import class_names_of_checkpoint
from .share_settings import share_settings


def read_config(
    config: str | Path, checkpoint: str | Path | None = None, options: dict | None = None
) -> Config:
    """Read a config, settle what its parts share, and take class names from a checkpoint.

    MMEngine's ``Config.fromfile`` leaves a derived ``clip = dict(...)`` without effect on the
    parts (see :func:`share_settings`), and a head whose class names are a folder of images cannot
    be built where the images are not. MMPretrain's inferencer takes what this returns::

        ImageClassificationInferencer(read_config(CONFIG, CHECKPOINT), CHECKPOINT)

    Args:
        config: Its path.
        checkpoint: Of a run. Where it keeps class names, the head takes them.
        options: As ``--cfg-options``, e.g. ``{'clip.pretrained': '/path/to/ViT-B-16.pt'}``.

    Raises:
        FileNotFoundError: Config or checkpoint does not exist.
        ValueError: The checkpoint cannot be read.
    """
    cfg = Config.fromfile(config)
    names = None
    if checkpoint and '://' not in str(checkpoint):  # an address is left to MMEngine
        names = class_names_of_checkpoint(checkpoint)
    if names and 'class_names' in cfg.model.head:
        cfg.model.head.class_names = list(names)
    if options:
        cfg.merge_from_dict(options)
    share_settings(cfg)
    return cfg

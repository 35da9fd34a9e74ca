"""MMPretrain's classifier with one frozen CLIP for all its parts."""

from typing import Any

from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS

from ..clip.load import build_towers, lend
from .learned_state import KeepsIdentity


@MODELS.register_module()
class CLIPClassifier(KeepsIdentity, ImageClassifier):
    """Loads a CLIP once, and lends it to those of its parts that need it.

    Every part that is built from a config shares it, heads inside MMPretrain's ``MultiTaskHead``
    too. A copy of the model has a CLIP of its own. The state dict has none, but says which it was.

    Args:
        clip (dict): ``dict(model_name=..., pretrained=...)``, see :func:`load_clip`. An override
            is ``model.clip.pretrained=...``.
        **kwargs: As in ``ImageClassifier``: ``backbone``, ``neck``, ``head``,
            ``data_preprocessor``, ...
    """

    def __init__(self, clip: dict, **kwargs: Any) -> None:
        towers = build_towers(clip)
        with lend(towers):
            super().__init__(**kwargs)
        self.towers = towers

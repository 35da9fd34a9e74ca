"""One frozen CLIP, which the parts of a model share without any of them saving it.

The towers live in :class:`ClipTowers`, a plain object. Modules hold it without registering it
(:class:`HoldsClipTowers`), so CLIP is in no ``state_dict``, no optimiser and no gradient bucket,
but follows its holder to another device or dtype.
"""

import hashlib
from collections.abc import Callable

import open_clip
from mmengine.model import BaseModule
from torch import Tensor, nn

from .image_tower import ImageTower
from .text_tower import TextTower

VISUAL = 'visual.'


class ClipTowers:
    """A frozen CLIP and its tokenizer.

    Attributes:
        clip (open_clip.CLIP): In eval mode; no parameter asks for a gradient.
        image (ImageTower): Its image tower.
        text (TextTower): Its text tower.
        identity (dict): ``model_name``, ``pretrained``, ``quick_gelu`` and ``weights_sha256``, in
            float32 as loaded.
    """

    def __init__(
        self,
        clip: open_clip.CLIP,
        tokenizer: open_clip.SimpleTokenizer,
        model_name: str,
        pretrained: str | None,
        quick_gelu: bool,
    ) -> None:
        self.clip = clip.eval().requires_grad_(False)
        self.image = ImageTower(clip.visual)
        self.text = TextTower(clip, tokenizer)
        state = clip.state_dict()
        # now: a holder may be moved to another dtype later
        self._image_sha256 = _digest({k: v for k, v in state.items() if k.startswith(VISUAL)})
        text_sha256 = _digest({k: v for k, v in state.items() if not k.startswith(VISUAL)})
        both = hashlib.sha256(f'{self._image_sha256}{text_sha256}'.encode()).hexdigest()
        self.identity = dict(
            model_name=model_name,
            pretrained=pretrained,
            quick_gelu=quick_gelu,
            weights_sha256=both,
        )

    @property
    def logit_scale(self) -> Tensor:
        """s = exp(logit_scale), a scalar; 100 for CLIP."""
        return self.clip.logit_scale.exp()

    def describe_image_tower(self, first_block_residual: bool) -> dict:
        """Whatever the features of an image depend on, beside the image, as JSON can hold it.

        Names do not count: the same weights under a tag and in a file are the same tower.
        """
        return dict(
            first_block_residual=first_block_residual,
            quick_gelu=self.identity['quick_gelu'],
            image_size=list(self.image.image_size),
            num_heads=self.image.num_heads,
            weights_sha256=self._image_sha256,
        )


class HoldsClipTowers(BaseModule):
    """Mixin for a module: ``self.towers`` moves with it and is never saved with it."""

    towers: ClipTowers

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        self.towers.clip._apply(fn)
        return super()._apply(fn, recurse)


def _digest(state: dict[str, Tensor]) -> str:
    """sha256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().float().cpu().contiguous()
        digest.update(f'{name.removeprefix(VISUAL)}{tuple(tensor.shape)}'.encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()

"""Loading what was learned: all of it, of the right shape, on the CLIP it was learned with."""

import json
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from ..clip.towers import HoldsClipTowers
from ..io.checkpoint_file import CheckpointMismatch, not_finite

ADVICE = 'Use the config (classes, prompts, projection, CLIP) that it was trained with.'


class LoadsWholeState(BaseModule):
    """Mixin for a module whose parameters a checkpoint must hold, shape for shape.

    MMEngine logs what is missing, misshapen or left over, and goes on with the initial values.
    """

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        check_finite(state_dict)
        for key, parameter in self.named_parameters(prefix=prefix.removesuffix('.')):
            found = state_dict.get(key)
            if found is None:
                raise CheckpointMismatch(
                    f'The checkpoint has no {key!r}, which {type(self).__name__} learns: it is '
                    f'not a checkpoint of this model. {ADVICE}'
                )
            if found.shape != parameter.shape:
                raise CheckpointMismatch(
                    f'The checkpoint holds {key} of shape {tuple(found.shape)}, but this model '
                    f'expects {tuple(parameter.shape)}. {ADVICE}'
                )
        known = self.state_dict(prefix=prefix)  # with the buffers, of a loss for example
        for key in state_dict:
            if key.startswith(prefix) and key not in known:
                raise CheckpointMismatch(
                    f'The checkpoint holds {key!r}, which this {type(self).__name__} does not '
                    f'have; without it, it would predict something else. {ADVICE}'
                )
        super()._load_from_state_dict(state_dict, prefix, *args)


class KeepsIdentity(HoldsClipTowers):
    """Mixin for a module whose state dict says which CLIP it belongs to; another is refused.

    The entry is ``<prefix>_extra_state``, uint8: the JSON of :meth:`identity`. Where a state dict
    has none, nothing is compared.
    """

    def identity(self) -> dict:
        """What a checkpoint says of the model beside its weights, as JSON can hold it."""
        return dict(clip=self.towers.identity)

    def get_extra_state(self) -> Tensor:
        """The identity as a tensor, which all that handles state dicts can handle."""
        text = bytearray(json.dumps(self.identity()).encode())
        return torch.frombuffer(text, dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Nothing: it was compared before the weights were taken."""

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        check_finite(state_dict)
        trained = read_identity(state_dict, prefix)
        if trained is not None:
            ours, theirs = self.towers.identity, trained['clip']
            if any(ours[key] != theirs[key] for key in ('weights_sha256', 'quick_gelu')):
                raise CheckpointMismatch(
                    f'The checkpoint was trained on {_describe(theirs)}, but this model has '
                    f'{_describe(ours)}: what was learned for one means nothing to another. '
                    'Set clip=dict(...) to the one that it was trained on.'
                )
        super()._load_from_state_dict(state_dict, prefix, *args)
        missing = args[2]  # behind metadata and strict
        if f'{prefix}_extra_state' in missing:
            missing.remove(f'{prefix}_extra_state')


def read_identity(state_dict: dict, prefix: str) -> dict | None:
    """What a checkpoint says of the model that wrote it; None if it says nothing."""
    saved = state_dict.get(f'{prefix}_extra_state')
    if saved is None:
        return None
    try:
        identity = json.loads(bytes(saved.flatten().tolist()))
        clip, names = identity['clip'], identity.get('class_names', [])
        usable = {'weights_sha256', 'quick_gelu', 'model_name', 'pretrained'} <= set(clip)
        usable = usable and all(isinstance(name, str) for name in names)
    except (AttributeError, KeyError, TypeError, ValueError):
        usable = False
    if not usable:
        raise CheckpointMismatch(
            f'The checkpoint holds a damaged {prefix}_extra_state; expected the JSON of CLIP and '
            'class names as uint8. Take another checkpoint.'
        )
    return identity


def check_finite(state_dict: dict) -> None:
    """Refuse NaN and infinity, by the name of the first such tensor."""
    for key, count in not_finite(state_dict).items():
        raise CheckpointMismatch(
            f'The checkpoint holds {key} with {count} numbers NaN or infinite: its training '
            'diverged, or the file is damaged. Take an earlier one.'
        )


def _describe(clip: dict) -> str:
    activation = 'QuickGELU' if clip['quick_gelu'] else 'GELU'
    sha256 = str(clip['weights_sha256'])[:12]
    return f'CLIP {clip["model_name"]} from {clip["pretrained"]} (sha256 {sha256}, {activation})'

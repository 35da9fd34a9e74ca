"""Loading what was learned: all of it, of the right shape, or an error."""

from torch import nn


class LoadsWholeState:
    """Mixin for an ``nn.Module`` whose parameters a checkpoint must hold, shape for shape.

    MMEngine loads with ``strict=False``: it logs what is missing or misshapen and goes on with
    the initial values. For learned prompts that would be a silent change of the model.
    """

    def _load_from_state_dict(self: nn.Module, state_dict: dict, prefix: str, *args) -> None:
        for name, parameter in self.named_parameters():
            key = prefix + name
            found = state_dict.get(key)
            if found is None:
                raise RuntimeError(
                    f'The checkpoint has no {key!r}, which {type(self).__name__} learns: it is '
                    'not a checkpoint of this model. Give one that was trained with this config.'
                )
            if found.shape != parameter.shape:
                raise RuntimeError(
                    f'The checkpoint holds {key} of shape {tuple(found.shape)}, but this model '
                    f'expects {tuple(parameter.shape)}{self._explain_shape()}. Test with the '
                    'config (classes, number of prompts, CLIP) that it was trained with.'
                )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _explain_shape(self) -> str:
        """What the dimensions are, for the message."""
        return ''

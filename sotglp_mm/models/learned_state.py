"""Loading what was learned: all of it, of the right shape, or an error."""

from typing import Any

from mmengine.model import BaseModule

from ..io.checkpoint_file import CheckpointMismatch


class LoadsWholeState(BaseModule):
    """Mixin for a module whose parameters a checkpoint must hold, shape for shape.

    MMEngine loads with ``strict=False``: it logs what is missing, misshapen or left over, and goes
    on with the initial values. For learned prompts that would be a silent change of the model.
    """

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        expected = dict(self.named_parameters(prefix=prefix.removesuffix('.')))
        advice = 'Use the config (classes, prompts, projection, CLIP) that it was trained with.'
        for key, parameter in expected.items():
            found = state_dict.get(key)
            if found is None:
                raise CheckpointMismatch(
                    f'The checkpoint has no {key!r}, which {type(self).__name__} learns: it is '
                    f'not a checkpoint of this model. {advice}'
                )
            if found.shape != parameter.shape:
                raise CheckpointMismatch(
                    f'The checkpoint holds {key} of shape {tuple(found.shape)}, but this model '
                    f'expects {tuple(parameter.shape)}{self._explain_shape()}. {advice}'
                )
        known = self.state_dict(prefix=prefix)  # with the buffers, of a loss for example
        for key in state_dict:
            if key.startswith(prefix) and key not in known:
                raise CheckpointMismatch(
                    f'The checkpoint holds {key!r}, which this {type(self).__name__} does not '
                    f'have; without it, it would predict something else. {advice}'
                )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _explain_shape(self) -> str:
        """What the dimensions are, for the message."""
        return ''

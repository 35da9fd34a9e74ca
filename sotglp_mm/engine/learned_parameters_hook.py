"""What does this run learn?"""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..utils.settings import checked_settings


@HOOKS.register_module()
@checked_settings
class LearnedParametersHook(Hook):
    """Logs the parameters that learn, and stops a run in which none does."""

    def before_train(self, runner: Runner) -> None:
        """Log, or raise ``ValueError``."""
        learned = {
            name.removeprefix('module.'): parameter
            for name, parameter in runner.model.named_parameters()
            if parameter.requires_grad
        }
        if not learned:
            raise ValueError(
                'Nothing learns in this run: no parameter of the model asks for a gradient. '
                'Learn the prompts or the projection (neck.learn=True), or use tools/test.py.'
            )
        total = sum(parameter.numel() for parameter in learned.values())
        lines = [f'Learning {total:,} parameters; CLIP is frozen']
        lines += [f'  {name} {tuple(p.shape)}: {p.numel():,}' for name, p in learned.items()]
        runner.logger.info('\n'.join(lines))

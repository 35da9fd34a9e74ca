"""Do all parts hold the same CLIP?"""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..utils.settings import checked_settings


@HOOKS.register_module()
@checked_settings
class OneClipHook(Hook):
    """Stops a run whose parts were built with different CLIPs.

    Images of one tower beside texts of another give numbers, and the numbers mean nothing. Parts
    without ``towers`` are left alone.
    """

    def before_run(self, runner: Runner) -> None:
        """Look at all parts, or raise ``ValueError``."""
        holders: dict[str, Any] = {
            name.removeprefix('module.'): part.towers
            for name, part in runner.model.named_modules()
            if getattr(part, 'towers', None) is not None
        }
        names = list(holders)
        others = [name for name in names if holders[name] is not holders[names[0]]]
        if others:
            raise ValueError(
                f'{names[0]} and {others[0]} hold different CLIPs: their settings `clip` differ. '
                'Say it once, at the top of the config: clip = dict(model_name=..., '
                'pretrained=...), and override that one'
            )

"""Hooks and wrappers that check or serve a run."""

from .autocast_optim_wrapper import AutocastOptimWrapper
from .class_names_check_hook import ClassNamesCheckHook
from .cpu_processes import prepare_cpu_processes
from .empty_epoch_hook import EmptyEpochHook
from .learned_parameters_hook import LearnedParametersHook
from .plain_checkpoint_hook import PlainCheckpointHook
from .share_clip import share_clip

__all__ = [
    'AutocastOptimWrapper',
    'ClassNamesCheckHook',
    'EmptyEpochHook',
    'LearnedParametersHook',
    'PlainCheckpointHook',
    'prepare_cpu_processes',
    'share_clip',
]

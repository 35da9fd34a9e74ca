"""Hooks and wrappers that check or serve a run."""

from .autocast_optim_wrapper import AutocastOptimWrapper
from .class_names_check_hook import ClassNamesCheckHook
from .cpu_processes import prepare_cpu_processes
from .empty_epoch_hook import EmptyEpochHook
from .few_shot_record_hook import FewShotRecordHook
from .finite_loss_hook import FiniteLossHook
from .latest_checkpoint import latest_checkpoint
from .learned_parameters_hook import LearnedParametersHook
from .lost_process import explaining_lost_process
from .plain_checkpoint_hook import PlainCheckpointHook
from .random_state_hook import RandomStateHook
from .resumed_validation_hook import ResumedValidationHook
from .whole_checkpoint_hook import WholeCheckpointHook

__all__ = [
    'AutocastOptimWrapper',
    'ClassNamesCheckHook',
    'EmptyEpochHook',
    'FewShotRecordHook',
    'FiniteLossHook',
    'LearnedParametersHook',
    'PlainCheckpointHook',
    'RandomStateHook',
    'ResumedValidationHook',
    'WholeCheckpointHook',
    'explaining_lost_process',
    'latest_checkpoint',
    'prepare_cpu_processes',
]

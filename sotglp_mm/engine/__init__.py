"""Hooks and wrappers that check or serve a run."""

from .autocast_optim_wrapper import AutocastOptimWrapper
from .checkpoints import PlainCheckpointHook, WholeCheckpointHook, latest_checkpoint
from .distributed import explaining_lost_process, prepare_processes
from .exact_resume import RandomStateHook, ResumedSettingsHook, ResumedValidationHook
from .few_shot_record_hook import FewShotRecordHook
from .progress_bar_hook import ProgressBarHook
from .run_checks import (
    ClassNamesCheckHook,
    EmptyEpochHook,
    FeatureCacheCheckHook,
    FiniteLossHook,
    LearnedParametersHook,
    ProcessesCheckHook,
)
from .work_dir_lock import work_dir_lock

__all__ = [
    'AutocastOptimWrapper',
    'ClassNamesCheckHook',
    'EmptyEpochHook',
    'FeatureCacheCheckHook',
    'FewShotRecordHook',
    'FiniteLossHook',
    'LearnedParametersHook',
    'PlainCheckpointHook',
    'ProcessesCheckHook',
    'ProgressBarHook',
    'RandomStateHook',
    'ResumedSettingsHook',
    'ResumedValidationHook',
    'WholeCheckpointHook',
    'explaining_lost_process',
    'latest_checkpoint',
    'prepare_processes',
    'work_dir_lock',
]

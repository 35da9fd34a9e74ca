"""Registered models: frozen towers or their cached outputs, projection, prompts, allocation."""

from .allocations import CappedAllocationLoss, OTAllocationLoss, UniformAllocationLoss
from .average_scores_tta import AverageScoresTTA
from .clip_classifier import CLIPClassifier
from .local_projection_neck import LocalProjectionNeck
from .open_clip_vit import OpenCLIPViT
from .prompt_text_encoder import PromptTextEncoder
from .selectors import PromptPatchSelector, SparsePatchSelector
from .sotglp_head import SOTGLPHead

__all__ = [
    'AverageScoresTTA',
    'CLIPClassifier',
    'CappedAllocationLoss',
    'LocalProjectionNeck',
    'OTAllocationLoss',
    'OpenCLIPViT',
    'PromptPatchSelector',
    'PromptTextEncoder',
    'SOTGLPHead',
    'SparsePatchSelector',
    'UniformAllocationLoss',
]

"""Registered models: frozen towers or their cached outputs, projection, prompts, allocation."""

from .average_scores_tta import AverageScoresTTA
from .capped_allocation_loss import CappedAllocationLoss
from .clip_classifier import CLIPClassifier
from .local_projection_neck import LocalProjectionNeck
from .open_clip_vit import OpenCLIPViT
from .ot_allocation_loss import OTAllocationLoss
from .prompt_patch_selector import PromptPatchSelector
from .prompt_text_encoder import PromptTextEncoder
from .sotglp_head import SOTGLPHead
from .sparse_patch_selector import SparsePatchSelector
from .uniform_allocation_loss import UniformAllocationLoss

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

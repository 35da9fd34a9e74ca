"""Registered models: frozen towers or their cached outputs, projection, prompts, allocation."""

from .average_scores_tta import AverageScoresTTA
from .cached_feature_backbone import CachedFeatureBackbone
from .cached_feature_preprocessor import CachedFeaturePreprocessor
from .local_projection_neck import LocalProjectionNeck
from .open_clip_vit import OpenCLIPViT
from .ot_allocation_loss import OTAllocationLoss
from .prompt_text_encoder import PromptTextEncoder
from .sotglp_head import SOTGLPHead
from .sparse_patch_selector import SparsePatchSelector

__all__ = [
    'AverageScoresTTA',
    'CachedFeatureBackbone',
    'CachedFeaturePreprocessor',
    'LocalProjectionNeck',
    'OTAllocationLoss',
    'OpenCLIPViT',
    'PromptTextEncoder',
    'SOTGLPHead',
    'SparsePatchSelector',
]

"""Stored features of a frozen image tower: format, writer, dataset, backbone, checks."""

from .backbone import CachedFeatureBackbone
from .check_hook import FeatureCacheCheckHook
from .dataset import CachedFeatureDataset
from .preprocessor import CachedFeaturePreprocessor

__all__ = [
    'CachedFeatureBackbone',
    'CachedFeatureDataset',
    'CachedFeaturePreprocessor',
    'FeatureCacheCheckHook',
]

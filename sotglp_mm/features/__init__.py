"""Stored features of a frozen image tower: format, writer, dataset, backbone, checks."""

from .check_hook import FeatureCacheCheckHook
from .dataset import CachedFeatureDataset
from .model import CachedFeatureBackbone, CachedFeaturePreprocessor

__all__ = [
    'CachedFeatureBackbone',
    'CachedFeatureDataset',
    'CachedFeaturePreprocessor',
    'FeatureCacheCheckHook',
]

"""Stored features of a frozen image tower: format, writer, dataset, backbone."""

from .dataset import CachedFeatureDataset
from .model import CachedFeatureBackbone, CachedFeaturePreprocessor

__all__ = ['CachedFeatureBackbone', 'CachedFeatureDataset', 'CachedFeaturePreprocessor']

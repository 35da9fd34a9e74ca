"""Metrics."""

from .branch_accuracy import BranchAccuracy
from .ood_metric import OODMetric

__all__ = ['BranchAccuracy', 'OODMetric']

"""Metrics."""

from .allocation_metric import AllocationMetric
from .branch_accuracy import BranchAccuracy
from .ood_metric import OODMetric

__all__ = ['AllocationMetric', 'BranchAccuracy', 'OODMetric']

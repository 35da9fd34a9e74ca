"""Metrics."""

from .allocation_metric import AllocationMetric
from .branch_accuracy import BranchAccuracy
from .calibration_error import CalibrationError
from .ood_metric import OODMetric

__all__ = ['AllocationMetric', 'BranchAccuracy', 'CalibrationError', 'OODMetric']

"""Datasets x shots x seeds, and their summary."""

from .run import run_campaign
from .summary import summarize

__all__ = ['run_campaign', 'summarize']

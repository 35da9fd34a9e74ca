"""Datasets x shots x seeds, and their summary."""

"""Datasets, few-shot wrappers and transforms."""

from .coop_datasets import (
    CoOpAircraftDataset,
    CoOpImageNetDataset,
    CoOpSplitDataset,
    ImageNetShiftDataset,
)
from .epoch_sampler import EpochSampler
from .evaluation_sets import EvaluationSets
from .few_shot_dataset import FewShotDataset
from .listed_images import UnlabelledImagesDataset
from .load_image_strict import LoadImageStrict
from .own_images_dataset import OwnImagesDataset

__all__ = [
    'CoOpAircraftDataset',
    'CoOpImageNetDataset',
    'CoOpSplitDataset',
    'EpochSampler',
    'EvaluationSets',
    'FewShotDataset',
    'ImageNetShiftDataset',
    'LoadImageStrict',
    'OwnImagesDataset',
    'UnlabelledImagesDataset',
]

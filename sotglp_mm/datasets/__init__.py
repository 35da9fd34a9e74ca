"""Datasets, few-shot wrappers and transforms."""

from .coop_aircraft_dataset import CoOpAircraftDataset
from .coop_imagenet_dataset import CoOpImageNetDataset
from .coop_split_dataset import CoOpSplitDataset
from .epoch_sampler import EpochSampler
from .evaluation_sets import EvaluationSets
from .few_shot_dataset import FewShotDataset
from .imagenet_shift_dataset import ImageNetShiftDataset
from .load_image_strict import LoadImageStrict
from .own_images_dataset import OwnImagesDataset
from .unlabelled_images_dataset import UnlabelledImagesDataset

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

"""Datasets, few-shot wrappers and transforms."""

from .cached_feature_dataset import CachedFeatureDataset
from .coop_aircraft_dataset import CoOpAircraftDataset
from .coop_imagenet_dataset import CoOpImageNetDataset
from .coop_split_dataset import CoOpSplitDataset
from .demo_digits_dataset import DemoDigitsDataset
from .demo_scenes_dataset import DemoScenesDataset
from .demo_unseen_dataset import DemoUnseenDataset
from .epoch_sampler import EpochSampler
from .evaluation_sets import EvaluationSets
from .few_shot_dataset import FewShotDataset
from .imagenet_shift_dataset import ImageNetShiftDataset
from .load_image_strict import LoadImageStrict
from .own_images_dataset import OwnImagesDataset
from .unlabelled_images_dataset import UnlabelledImagesDataset

__all__ = [
    'CachedFeatureDataset',
    'CoOpAircraftDataset',
    'CoOpImageNetDataset',
    'CoOpSplitDataset',
    'DemoDigitsDataset',
    'DemoScenesDataset',
    'DemoUnseenDataset',
    'EpochSampler',
    'EvaluationSets',
    'FewShotDataset',
    'ImageNetShiftDataset',
    'LoadImageStrict',
    'OwnImagesDataset',
    'UnlabelledImagesDataset',
]

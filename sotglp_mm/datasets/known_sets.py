"""The benchmark's sets: what they hold, where they lie on disk, where they are to be had.

Configs name places in CoOp's layout. Where nothing lies there, the other places that are in
circulation are looked at (``find_place.py``).
"""

from typing import NamedTuple


class KnownSet(NamedTuple):
    """One of the benchmark's sets; all places are below the folder of all data ($DATA)."""

    name: str
    """E.g. 'dtd': part of the config's name, and of results."""

    kind: str
    """'few_shot', 'shift' (ImageNet's classes in another style) or 'ood' (no labels)."""

    folder: str
    """Folder of the set in CoOp's layout."""

    images: str
    """Folder of the images below ``folder``."""

    split_file: str
    """CoOp's split file in ``folder``; '' where the set has none."""

    num_classes: int
    """0 for 'ood'."""

    counts: dict[str, int]
    """Images of each split that runs use."""

    source: str
    """Where the images are to be had."""

    other_places: tuple[tuple[str, str], ...] = ()
    """Other (folder, images) that are in circulation."""

    torchvision: str = ''
    """Name of the class of ``torchvision.datasets`` that downloads it."""

    @property
    def places(self) -> list[tuple[str, str]]:
        """Every (folder, images) to look at, below the folder of all data; CoOp's first."""
        here = [(self.folder, self.images), *self.other_places]
        gathered = GATHERED_IN[self.kind]
        return [*here, *((f'{gathered}/{folder}', images) for folder, images in here)]


GATHERED_IN = {'few_shot': 'dataset_suite', 'shift': 'domains', 'ood': 'ood_data'}
"""A folder that some keep all sets of one kind in; within it, all places are looked at again."""


COOP = 'https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md'
"""Where the split files, and CoOp's own instructions, are to be had."""

MOS = 'https://github.com/deeplearning-wisc/large_scale_ood'
"""Where the 10 000-image selections of Huang and Li (2021) are to be had."""

_SETS = (
    KnownSet(
        'imagenet',
        'few_shot',
        'imagenet',
        'images',
        '',
        1000,
        dict(train=1_281_167, val=50_000),
        'https://www.image-net.org',
        (('Imagenet', '.'), ('imagenet', '.'), ('ImageNet', '.'), ('ILSVRC2012', '.')),
    ),
    KnownSet(
        'caltech101',
        'few_shot',
        'caltech-101',
        '101_ObjectCategories',
        'split_zhou_Caltech101.json',
        100,
        dict(train=4128, val=1649, test=2465),
        'https://data.caltech.edu/records/mzrjq-6wc02',
        (('caltech101', '101_ObjectCategories'), ('caltech101', '.')),
        'Caltech101',
    ),
    KnownSet(
        'oxford_pets',
        'few_shot',
        'oxford_pets',
        'images',
        'split_zhou_OxfordPets.json',
        37,
        dict(train=2944, val=736, test=3669),
        'https://www.robots.ox.ac.uk/~vgg/data/pets/',
        (('oxford-iiit-pet', 'images'), ('OxfordPets', 'images')),
        'OxfordIIITPet',
    ),
    KnownSet(
        'stanford_cars',
        'few_shot',
        'stanford_cars',
        '.',
        'split_zhou_StanfordCars.json',
        196,
        dict(train=6509, val=1635, test=8041),
        'a copy of the original archives; their own page is gone',
        (('StanfordCars', '.'),),
    ),
    KnownSet(
        'oxford_flowers',
        'few_shot',
        'oxford_flowers',
        'jpg',
        'split_zhou_OxfordFlowers.json',
        102,
        dict(train=4093, val=1633, test=2463),
        'https://www.robots.ox.ac.uk/~vgg/data/flowers/102/',
        (('flowers-102', 'jpg'), ('Flower102', 'jpg'), ('flowers102', 'jpg'), ('flowers102', '.')),
        'Flowers102',
    ),
    KnownSet(
        'food101',
        'few_shot',
        'food-101',
        'images',
        'split_zhou_Food101.json',
        101,
        dict(train=50_500, val=20_200, test=30_300),
        'https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/',
        (('food101', 'images'), ('Food101', 'images')),
        'Food101',
    ),
    KnownSet(
        'fgvc_aircraft',
        'few_shot',
        'fgvc_aircraft',
        'images',
        '',
        100,
        dict(train=3334, val=3333, test=3333),
        'https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/',
        (('fgvc-aircraft-2013b/data', 'images'), ('fgvc-aircraft-2013b', 'images')),
        'FGVCAircraft',
    ),
    KnownSet(
        'sun397',
        'few_shot',
        'sun397',
        'SUN397',
        'split_zhou_SUN397.json',
        397,
        dict(train=15_880, val=3970, test=19_850),
        'https://vision.princeton.edu/projects/2010/SUN/',
        (('SUN397', '.'), ('sun397', '.')),
        'SUN397',
    ),
    KnownSet(
        'dtd',
        'few_shot',
        'dtd',
        'images',
        'split_zhou_DescribableTextures.json',
        47,
        dict(train=2820, val=1128, test=1692),
        'https://www.robots.ox.ac.uk/~vgg/data/dtd/',
        (('dtddataset/dtd', 'images'), ('dtd/dtd', 'images')),
        'DTD',
    ),
    KnownSet(
        'eurosat',
        'few_shot',
        'eurosat',
        '2750',
        'split_zhou_EuroSAT.json',
        10,
        dict(train=13_500, val=5400, test=8100),
        'https://github.com/phelber/EuroSAT',
        (('EuroSAT_RGB', '.'), ('eurosat/EuroSAT_RGB', '.'), ('EuroSAT', '2750')),
        'EuroSAT',
    ),
    KnownSet(
        'ucf101',
        'few_shot',
        'ucf101',
        'UCF-101-midframes',
        'split_zhou_UCF101.json',
        101,
        dict(train=7639, val=1898, test=3783),
        f'{COOP} (the middle frames of the videos)',
        (('UCF101', 'UCF-101-midframes'), ('UCF-101-midframes', '.')),
    ),
    KnownSet(
        'imagenetv2',
        'shift',
        'imagenetv2',
        'imagenetv2-matched-frequency-format-val',
        '',
        1000,
        dict(test=10_000),
        'https://github.com/modestyachts/ImageNetV2 (matched frequency)',
        (('imagenetv2-matched-frequency-format-val', '.'), ('imagenetv2', '.')),
    ),
    KnownSet(
        'imagenet_sketch',
        'shift',
        'imagenet-sketch',
        'images',
        '',
        1000,
        dict(test=50_889),
        'https://github.com/HaohanWang/ImageNet-Sketch',
        (('imagenet-sketch', 'sketch'), ('imagenet-sketch', '.'), ('sketch', '.')),
    ),
    KnownSet(
        'imagenet_a',
        'shift',
        'imagenet-adversarial',
        'imagenet-a',
        '',
        200,
        dict(test=7500),
        'https://github.com/hendrycks/natural-adv-examples',
        (('imagenet-a', '.'),),
    ),
    KnownSet(
        'imagenet_r',
        'shift',
        'imagenet-rendition',
        'imagenet-r',
        '',
        200,
        dict(test=30_000),
        'https://github.com/hendrycks/imagenet-r',
        (('imagenet-r', '.'),),
    ),
    KnownSet(
        'inaturalist',
        'ood',
        'iNaturalist',
        'images',
        '',
        0,
        dict(test=10_000),
        MOS,
        (('ImageNet_OOD_dataset/iNaturalist', 'images'), ('iNaturalist', '.')),
    ),
    KnownSet(
        'sun',
        'ood',
        'SUN',
        'images',
        '',
        0,
        dict(test=10_000),
        MOS,
        (('ImageNet_OOD_dataset/SUN', 'images'), ('SUN', '.')),
    ),
    KnownSet(
        'places',
        'ood',
        'Places',
        'images',
        '',
        0,
        dict(test=10_000),
        MOS,
        (('ImageNet_OOD_dataset/Places', 'images'), ('Places', '.')),
    ),
    KnownSet(
        'textures',
        'ood',
        'dtd',
        'images',
        '',
        0,
        dict(test=5640),
        'https://www.robots.ox.ac.uk/~vgg/data/dtd/ (all of DTD)',
        (
            ('Textures', 'images'),
            ('Texture', 'images'),
            ('ImageNet_OOD_dataset/dtd', 'images'),
            ('dtddataset/dtd', 'images'),
            ('dtd/dtd', 'images'),
        ),
    ),
)

KNOWN_SETS: dict[str, KnownSet] = {each.name: each for each in _SETS}
"""The 11 few-shot sets, 4 domain shifts and 4 OOD sets, by name."""

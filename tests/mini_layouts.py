"""Other layouts in circulation, written down here and not taken from the package's own list.

Each says in which folder a set's images lie, as its users' instructions draw it.
"""

GALLOP = {
    'imagenet': 'Imagenet',
    'imagenetv2': 'imagenetv2-matched-frequency-format-val',
    'imagenet_a': 'imagenet-a',
    'imagenet_r': 'imagenet-r',
    'imagenet_sketch': 'sketch',
    'caltech101': 'caltech101/101_ObjectCategories',
    'eurosat': 'EuroSAT_RGB',
    'dtd': 'dtddataset/dtd/images',
    'fgvc_aircraft': 'fgvc-aircraft-2013b/data/images',
    'oxford_flowers': 'flowers102',
    'food101': 'food-101/images',
    'oxford_pets': 'oxford-iiit-pet/images',
    'stanford_cars': 'stanford_cars',
    'sun397': 'SUN397',
    'ucf101': 'UCF-101-midframes',
    'inaturalist': 'ood_data/iNaturalist',
    'sun': 'ood_data/SUN',
    'places': 'ood_data/Places',
    'textures': 'ood_data/dtd/images',
}
_OF_IMAGENET = ('imagenetv2', 'imagenet_a', 'imagenet_r', 'imagenet_sketch')
_NOT_FEW_SHOT = ('imagenet', 'inaturalist', 'sun', 'places', 'textures', *_OF_IMAGENET)

LAYOUTS = {
    'gallop': GALLOP,
    'inner_folders': {
        'oxford_flowers': 'flowers102/jpg',
        'inaturalist': 'ood_data/iNaturalist/images',
        'sun': 'ood_data/SUN/images',
        'places': 'ood_data/Places/images',
    },
    'suite': {
        name: f'dataset_suite/{images}'
        for name, images in GALLOP.items()
        if name not in _NOT_FEW_SHOT
    },
    'coop_in_suite': {
        'caltech101': 'dataset_suite/caltech-101/101_ObjectCategories',
        'oxford_flowers': 'dataset_suite/oxford_flowers/jpg',
        'eurosat': 'dataset_suite/eurosat/2750',
        'stanford_cars': 'dataset_suite/stanford_cars',
        'fgvc_aircraft': 'dataset_suite/fgvc_aircraft/images',
    },
    'domains': {name: f'domains/{GALLOP[name]}' for name in _OF_IMAGENET},
    'coop_in_domains': {
        'imagenet_sketch': 'domains/imagenet-sketch/images',
        'imagenet_a': 'domains/imagenet-adversarial/imagenet-a',
    },
}

PLACES = [(name, images) for layout in LAYOUTS.values() for name, images in layout.items()]
"""(Set, folder of its images below $DATA), over all layouts."""

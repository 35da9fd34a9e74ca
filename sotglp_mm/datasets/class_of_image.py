"""Which class an image of a known set belongs to, by its place or by the set's own annotation.

Used where the field's split file is absent.
"""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from ..class_names.resolve import resolve_class_names
from ..io.own_images import image_files
from .find_place import Place
from .known_sets import KnownSet
from .matlab_labels import read_car_labels, read_flower_labels

_CALTECH = {
    'Faces': 'face',
    'Leopards': 'leopard',
    'Motorbikes': 'motorbike',
    'airplanes': 'airplane',
    # as in the field's split: not a class, and the same faces again
    'BACKGROUND_Google': None,
    'Faces_easy': None,
}

_EUROSAT = {
    'AnnualCrop': 'Annual Crop Land',
    'HerbaceousVegetation': 'Herbaceous Vegetation Land',
    'Highway': 'Highway or Road',
    'Industrial': 'Industrial Buildings',
    'Pasture': 'Pasture Land',
    'PermanentCrop': 'Permanent Crop Land',
    'Residential': 'Residential Buildings',
    'SeaLake': 'Sea or Lake',
}


def labelled_images(known: KnownSet, place: Place) -> tuple[list[tuple[str, str]], list[str]]:
    """Images of a set and their classes.

    Args:
        known: The set.
        place: Where it lies.

    Returns:
        tuple: (relative path, class name) of every image that belongs to a class; and the names
        of the classes that have images, in the order of the field's split.

    Raises:
        FileNotFoundError: The annotation that tells the classes is absent.
        ValueError: An image's class is none of the set's, or the annotation cannot be read.
    """
    names = resolve_class_names(known.name)
    class_of = _READERS.get(known.name, _by_folder)(place, names)
    named = [(path, class_of(path)) for path in image_files(place.images)]
    labelled = [(path, name) for path, name in named if name is not None]
    for path, name in labelled:
        if name not in names:
            raise ValueError(
                f'{place.images / path}: {name!r} is none of the {len(names)} classes of '
                f'{known.name}; expected {names[0]!r}, {names[1]!r}, ... Move the image away, or '
                f'bring the split file {known.split_file}.'
            )
    present = {name for _, name in labelled}
    return labelled, [name for name in names if name in present]


def _by_folder(place: Place, names: Sequence[str]) -> Callable[[str], str | None]:
    return lambda path: PurePosixPath(path).parts[0]


def _renamed(renamed: dict) -> Callable:
    return lambda place, names: (
        lambda path: renamed.get(PurePosixPath(path).parts[0], PurePosixPath(path).parts[0])
    )


def _by_nested_folders(place: Place, names: Sequence[str]) -> Callable[[str], str | None]:
    # a/apartment_building/outdoor/x.jpg is 'outdoor apartment_building'
    return lambda path: ' '.join(reversed(PurePosixPath(path).parts[1:-1]))


def _by_file_name(place: Place, names: Sequence[str]) -> Callable[[str], str | None]:
    # Great_Pyrenees_12.jpg
    return lambda path: PurePosixPath(path).stem.rsplit('_', 1)[0].lower()


def _flowers(place: Place, names: Sequence[str]) -> Callable[[str], str | None]:
    file = place.folder / 'imagelabels.mat'
    labels = read_flower_labels(file)

    def class_of(path: str) -> str | None:
        number = PurePosixPath(path).stem.removeprefix('image_')  # image_00007.jpg: the 7th label
        if not number.isdecimal() or not 1 <= int(number) <= len(labels):
            raise ValueError(
                f'{place.images / path} has no label in {file}, which has those of image_00001 to '
                f'image_{len(labels):05d}. Move the image away'
            )
        return _name_of(labels[int(number) - 1], names, file)

    return class_of


def _cars(place: Place, names: Sequence[str]) -> Callable[[str], str | None]:
    label_of = {}
    files = {'cars_train': 'devkit/cars_train_annos.mat'}
    files['cars_test'] = 'cars_test_annos_withlabels.mat'
    for folder, name in files.items():
        file = place.folder / name
        for image, label in read_car_labels(file).items():
            label_of[f'{folder}/{image}'] = _name_of(label, names, file)
    return label_of.get


def _name_of(label: int, names: Sequence[str], file: Path) -> str:
    if not 1 <= label <= len(names):
        raise ValueError(f'{file} has label {label}; expected 1 to {len(names)}')
    return names[label - 1]


_READERS = {
    'caltech101': _renamed(_CALTECH),
    'eurosat': _renamed(_EUROSAT),
    'oxford_flowers': _flowers,
    'oxford_pets': _by_file_name,
    'stanford_cars': _cars,
    'sun397': _by_nested_folders,
}

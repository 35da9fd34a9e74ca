"""Faults planted in miniatures of the sets, and what ``sotglp data`` says of them."""

import json
import shutil
from pathlib import Path

import pytest
import torchvision
from mini_data import write_all, write_image, write_set
from PIL import Image

from sotglp_cli import main
from sotglp_mm.datasets.known_sets import KNOWN_SETS

DTD_IMAGE = 'dtd/images/banded/banded_0001.jpg'


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> tuple[Path, Path]:
    """All miniatures, and the file of their numbers."""
    folder = tmp_path_factory.mktemp('whole')
    numbers = folder / 'expected.json'
    numbers.write_text(json.dumps(write_all(folder / 'data')))
    return folder / 'data', numbers


class Checked:
    """Exit status, what the terminal showed, what --json has."""

    def __init__(self, data: Path, numbers: Path, capsys, *flags: str):
        found = data.parent / 'found.json'
        arguments = [str(data), '--expected', str(numbers), '--json', str(found), *flags]
        self.exit_status = main(['data', *arguments])
        self.out = capsys.readouterr().out
        self.sets = json.loads(found.read_text())['sets']
        self.ok = json.loads(found.read_text())['ok']


@pytest.fixture
def check(whole, tmp_path, capsys):
    """Check a copy of some miniatures: ``check(plant, 'dtd')`` plants a fault in it first."""
    data = tmp_path / 'data'

    def run(plant, *names: str, flags: tuple = ()) -> Checked:
        for folder in {KNOWN_SETS[name].folder for name in names}:
            shutil.copytree(whole[0] / folder, data / folder, symlinks=True)
        plant(data)
        return Checked(data, whole[1], capsys, '--sets', *names, *flags)

    return run


def edit_split(data: Path, edit, name: str = 'dtd') -> None:
    file = data / KNOWN_SETS[name].folder / KNOWN_SETS[name].split_file
    splits = json.loads(file.read_text())
    edit(splits)
    file.write_text(json.dumps(splits))


def test_clean_miniatures_of_all_sets_are_clean(whole, capsys):
    checked = Checked(*whole, capsys)
    assert checked.exit_status == 0, checked.out
    assert list(checked.sets) == list(KNOWN_SETS)
    assert {each['status'] for each in checked.sets.values()} == {'ok'}
    faults = ('problems', 'notes', 'missing_images', 'undecodable_images', 'duplicates', 'leakage')
    assert not [each[fault] for each in checked.sets.values() for fault in faults if each[fault]]
    assert checked.out.splitlines()[-1] == '19 of 19 sets ok.'


def test_numbers_of_published_sets_are_expected_by_default(whole, capsys):
    assert main(['data', str(whole[0]), '--sets', 'dtd']) == 1
    out = capsys.readouterr().out
    assert 'split train has 12 images, expected 2820' in out
    assert 'there are 3 classes, expected 47' in out


def test_json_says_what_was_found(check):
    checked = check(lambda data: (data / DTD_IMAGE).unlink(), 'dtd', 'eurosat')
    assert (checked.exit_status, checked.ok) == (1, False)
    dtd, eurosat = checked.sets['dtd'], checked.sets['eurosat']
    assert eurosat['status'] == 'ok'
    assert eurosat['counts'] == dict(train=12, val=3, test=6)
    assert eurosat['num_classes'] == 3
    assert eurosat['other_place'] is False
    assert Path(eurosat['place']).parts[-2:] == ('eurosat', '2750')
    assert [Path(image).name for image in dtd['missing_images']] == ['banded_0001.jpg']


def truncate(data: Path) -> None:
    image = data / DTD_IMAGE
    # a whole header: opening it works, and only decoding tells
    image.write_bytes(image.read_bytes()[: image.stat().st_size * 9 // 10])


def removed(path: str):
    return lambda data: (data / path).unlink()


def written(path: str, text: str):
    return lambda data: (data / path).write_text(text)


def with_first_path(path: str):
    return lambda data: edit_split(data, lambda splits: splits['train'][0].__setitem__(0, path))


def reversed_variants(data: Path) -> None:
    file = data / 'fgvc_aircraft/variants.txt'
    file.write_text('\n'.join(reversed(file.read_text().splitlines())))


def of_rows(change):
    """Change each row of dtd's split file in place."""
    return lambda data: edit_split(
        data, lambda splits: [change(row) for rows in splits.values() for row in rows]
    )


def emptied(*paths: str):
    return lambda data: [(data / path).write_bytes(b'') for path in paths]


def linked(path: str):
    """A folder moved, and a link to it in its place."""

    def plant(data: Path) -> None:
        (data / path).rename(data.parent / 'moved')
        (data / path).symlink_to(data.parent / 'moved')

    return plant


def respell(splits: dict) -> None:
    for row in [row for rows in splits.values() for row in rows]:
        row[2] = row[2].replace('_', ' ')


def other_files(data: Path) -> None:
    images = data / 'SUN/images'
    (images / '._sun_0.jpg').write_bytes(b'what a Mac leaves behind')
    Image.open(images / 'sun_0.jpg').save(images / 'sun_0.webp')
    (images / 'sun_0.jpg').unlink()


DTD_LIST = 'dtd/split_zhou_DescribableTextures.json'
VAL = 'imagenet/images/val'
TRAIN_LIST = 'fgvc_aircraft/images_variant_train.txt'
FAULTS = {
    'one image too many': (
        lambda data: write_image(data / VAL / 'n01440764/one_more.JPEG', 0),
        *('imagenet', 'damaged', 'split val has 9 images, expected 8'),
    ),
    'an image of a class folder': (
        removed('imagenet/images/train/n01440764/n01440764_1.JPEG'),
        *('imagenet', 'incomplete', 'split train has 15 images, expected 16'),
    ),
    'an image of a shift': (
        removed('imagenet-rendition/imagenet-r/n01440764/imagenet_r_0_0.jpg'),
        *('imagenet_r', 'incomplete', ', expected '),
    ),
    'an image of an OOD set': (
        removed('iNaturalist/images/inaturalist_0.jpg'),
        *('inaturalist', 'incomplete', ', expected '),
    ),
    'a listed image': (removed(DTD_IMAGE), 'dtd', 'incomplete', '1 listed image missing: '),
    'a row': (
        lambda data: edit_split(data, lambda splits: splits['val'].pop()),
        *('dtd', 'incomplete', 'split val has 2 images, expected 3'),
    ),
    'a split': (
        lambda data: edit_split(data, lambda splits: splits.pop('val')),
        *('dtd', 'incomplete', 'has no split val'),
    ),
    'swapped classes': (
        of_rows(lambda row: row.__setitem__(1, {0: 1, 1: 0, 2: 2}[row[1]])),
        *('dtd', 'damaged', "class order: 'blotchy' comes before 'banded'"),
    ),
    'an unknown class': (
        of_rows(lambda row: row.__setitem__(2, row[2].replace('blotchy', 'stained'))),
        *('dtd', 'damaged', 'stained'),
    ),
    'swapped variants': (
        reversed_variants,
        *('fgvc_aircraft', 'damaged', "class order: 'F/A-18' comes before 'Cessna 172'"),
    ),
    'a list of aircraft': (
        removed('fgvc_aircraft/images_variant_val.txt'),
        *('fgvc_aircraft', 'incomplete', 'images_variant_val.txt missing'),
    ),
    'aircraft elsewhere': (
        written(TRAIN_LIST, '../../outside 707-320\n'),
        *('fgvc_aircraft', 'damaged', 'expected a path below the images'),
    ),
    'a class folder': (
        lambda data: shutil.rmtree(data / VAL / 'n01443537'),
        *('imagenet', 'incomplete', 'all class folders of the other split: n01443537'),
    ),
    'a split file': (
        removed('food-101/split_zhou_Food101.json'),
        *('food101', 'incomplete', 'CoOp/blob/main/DATASETS.md'),
    ),
    'no JSON': (written(DTD_LIST, '<html>404</html>'), 'dtd', 'damaged', f'{DTD_LIST} cannot be'),
    'a path elsewhere': (
        with_first_path('../../outside.jpg'),
        *('dtd', 'damaged', "names '../../outside.jpg'; expected a path below the images"),
    ),
    'a name that is too long': (
        with_first_path('x' * 300 + '.jpg'),
        *('dtd', 'incomplete', '1 listed image missing: '),
    ),
    'no text': (with_first_path('\ud800.jpg'), 'dtd', 'damaged', 'cannot be used'),
    'a class of listed images': (
        lambda data: shutil.rmtree(data / 'dtd/images/banded'),
        *('dtd', 'incomplete', 'banded_0003.jpg and 4 more'),
    ),
    'a truncated image': (truncate, 'dtd', 'damaged', 'truncated'),
    'no image, and no split file': (
        lambda data: [
            emptied('food-101/images/apple_pie/apple_pie_0001.jpg')(data),
            removed('food-101/split_zhou_Food101.json')(data),
        ],
        *('food101', 'damaged', '1 image cannot be decoded'),
    ),
    # no faults
    'spaces for underscores': (
        lambda data: edit_split(data, respell, 'ucf101'),
        *('ucf101', 'ok', '1 of 1 set ok.'),
    ),
    'links to folders': (linked('imagenet-sketch/images/n01440764'), 'imagenet_sketch', 'ok', ''),
    'a link to all images': (linked('SUN/images'), 'sun', 'ok', ''),
    "a Mac's files, and WebP": (other_files, 'sun', 'ok', ''),
}


@pytest.mark.parametrize(('plant', 'name', 'status', 'message'), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named(check, plant, name: str, status: str, message: str):
    checked = check(plant, name)
    assert checked.sets[name]['status'] == status
    assert checked.exit_status == (status != 'ok')
    assert message in checked.out


def copied(source: str, target: str):
    return lambda data: shutil.copy(data / source, data / target)


def listed_twice(data: Path) -> None:
    edit_split(data, lambda splits: splits['test'].__setitem__(0, splits['train'][0]))


def differing_in_the_middle(data: Path) -> None:
    """Two images of one size and ending, by a comment segment just after SOI."""
    pixels = (data / DTD_IMAGE).read_bytes()
    for number, padding in ((1, b'a'), (2, b'b')):
        comment = b'\xff\xfe\x20\x02' + padding * 0x2000 + b'\xff\xfe\x40\x02' + b'c' * 0x4000
        file = data / f'dtd/images/banded/banded_000{number}.jpg'
        file.write_bytes(pixels[:2] + comment + pixels[2:])


IMAGENET = 'imagenet/images'
# a fault, its set, groups of identical images and those of train and test, what is printed
DUPLICATES = {
    'within a split': (
        copied(DTD_IMAGE, 'dtd/images/banded/banded_0002.jpg'),
        *('dtd', 1, 0, 'note: 1 group of identical images, the first'),
    ),
    'a training image in test': (
        copied(DTD_IMAGE, 'dtd/images/banded/banded_0007.jpg'),
        *('dtd', 1, 1, 'LEAKAGE'),
    ),
    'a file that two splits list': (listed_twice, 'dtd', 1, 1, 'LEAKAGE'),
    'into val of ImageNet': (
        copied(
            f'{IMAGENET}/train/n01440764/n01440764_1.JPEG',
            f'{IMAGENET}/val/n01440764/ILSVRC2012_val_00000001.JPEG',
        ),
        *('imagenet', 1, 1, 'LEAKAGE'),
    ),
    'of one size and ending': (differing_in_the_middle, 'dtd', 0, 0, '1 of 1 set ok.'),
    'empty files are damage': (
        emptied(DTD_IMAGE, 'dtd/images/banded/banded_0002.jpg'),
        *('dtd', 0, 0, '2 images cannot be decoded'),
    ),
}


@pytest.mark.parametrize(
    ('plant', 'name', 'duplicates', 'leakage', 'message'), DUPLICATES.values(), ids=DUPLICATES
)
def test_identical_images(check, plant, name, duplicates: int, leakage: int, message: str):
    checked = check(plant, name)
    found = checked.sets[name]
    assert (len(found['duplicates']), len(found['leakage'])) == (duplicates, leakage)
    assert message in checked.out and ('LEAKAGE' in checked.out) is bool(leakage)
    assert checked.exit_status == bool(found['undecodable_images'])


def test_what_is_switched_off_finds_nothing(check):
    def plant(data: Path) -> None:
        DUPLICATES['a training image in test'][0](data)
        truncate(data)

    checked = check(plant, 'dtd', flags=('--no-decode', '--no-duplicates'))
    assert checked.exit_status == 0 and checked.sets['dtd']['leakage'] == []


def test_the_split_list_of_the_package_needs_no_file(check):
    dtd = check(removed(DTD_LIST), 'dtd').sets['dtd']
    assert dtd['counts'] == dict(train=2820, val=1128, test=1692)
    assert dtd['missing_images']


@pytest.mark.parametrize('here', [None, '{"train": []}'])
def test_another_place_and_a_split_file_there_are_recognised(tmp_path, whole, capsys, here):
    data, file = tmp_path / 'data', KNOWN_SETS['eurosat'].split_file
    write_set(data, 'eurosat', images_in='EuroSAT_RGB')
    shutil.move(data / 'eurosat' / file, data / 'EuroSAT_RGB' / file)
    if here:  # of two it reads the one that the dataset does
        (data / 'eurosat' / file).write_text(here)
    checked = Checked(data, whole[1], capsys, '--sets', 'eurosat')
    assert checked.exit_status == 0, checked.out
    assert Path(checked.sets['eurosat']['place']) == data / 'EuroSAT_RGB'
    assert checked.sets['eurosat']['other_place'] is True
    assert 'this other place is recognised' in checked.out


def test_an_absent_set_is_said_with_where_to_get_it(tmp_path, whole, capsys):
    write_set(tmp_path / 'data', 'eurosat')
    checked = Checked(tmp_path / 'data', whole[1], capsys)
    assert checked.exit_status == 1
    assert checked.sets['eurosat']['status'] == 'ok'
    assert {each['status'] for name, each in checked.sets.items() if name != 'eurosat'} == {
        'absent'
    }
    assert KNOWN_SETS['food101'].source in checked.out
    assert checked.out.splitlines()[-1].startswith('1 of 19 sets ok; absent: imagenet, ')
    assert checked.out.splitlines()[-1].endswith('with --sets.')


@pytest.mark.parametrize(
    'numbers',
    ['no json', '[1]', '{"dtt": {}}', '{"dtd": {"num_classes": 3}}', '{"dtd": {"counts": 3}}'],
)
def test_expected_numbers_that_cannot_be_used_are_a_usage_error(tmp_path, capsys, numbers):
    file = tmp_path / 'expected.json'
    file.write_text(numbers)
    assert main(['data', str(tmp_path), '--expected', str(file)]) == 2
    assert '--expected' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('folder', 'flags', 'messages'),
    [
        ('nowhere', [], ['nowhere is no folder']),
        ('', ['--json', 'taken/found.json'], ['found.json cannot be written']),
        ('', ['--sets', 'dtt'], ["no set 'dtt'; known are imagenet, "]),
        (
            '',
            ['--download', 'ucf101'],
            ['torchvision does not host ucf101', KNOWN_SETS['ucf101'].source],
        ),
        ('', ['--download', 'textures'], ['is the images of dtd: use --download dtd']),
    ],
)
def test_usage_errors(tmp_path, monkeypatch, capsys, folder, flags, messages):
    (tmp_path / 'taken').write_text('a file')
    monkeypatch.chdir(tmp_path)
    assert main(['data', str(tmp_path / folder), *flags]) == 2
    err = capsys.readouterr().err
    assert all(message in err for message in messages)


def test_own_images_with_one_image_in_two_splits(tmp_path, capsys):
    for label, name in enumerate(('red fox', 'green frog', 'blue whale')):
        write_image(tmp_path / 'train' / name / '1.png', label)
    shutil.copytree(tmp_path / 'train', tmp_path / 'Validation')
    (tmp_path / 'train' / 'red fox' / '2.png').write_bytes(b'no image')
    assert main(['data', str(tmp_path), '--own', '--json', str(tmp_path / 'found.json')]) == 1
    (found,) = json.loads((tmp_path / 'found.json').read_text())['sets'].values()
    assert (found['status'], found['num_classes']) == ('damaged', 3)
    assert len(found['duplicates']) == len(found['leakage']) == 3
    assert '2.png (UnidentifiedImageError' in capsys.readouterr().out


LAID_OUT = {
    'caltech101': 'caltech101/101_ObjectCategories',
    'oxford_pets': 'oxford-iiit-pet/images',
    'oxford_flowers': 'flowers-102/jpg',
    'food101': 'food-101/images',
    'fgvc_aircraft': 'fgvc-aircraft-2013b/data/images',
    'sun397': 'SUN397',
    'dtd': 'dtd/dtd/images',
    'eurosat': 'eurosat/2750',
}
"""Where torchvision 0.20 and later put the images; read in their source."""


@pytest.fixture
def fake_torchvision(whole, monkeypatch):
    """Instead of fetching, the classes copy the miniatures to where the real ones lay them."""

    def fake(name: str):
        known = KNOWN_SETS[name]

        def fetch(root: str, download: bool):
            assert download
            target = Path(root) / LAID_OUT[name]
            shutil.copytree(whole[0] / known.folder / known.images, target)
            for file in (whole[0] / known.folder).glob('*.txt'):
                shutil.copy(file, target.parent)

        monkeypatch.setattr(torchvision.datasets, known.torchvision, fetch)

    for name in LAID_OUT:
        fake(name)


def test_all_sets_with_a_torchvision_class_are_tried():
    assert set(LAID_OUT) == {name for name, known in KNOWN_SETS.items() if known.torchvision}
    for name in LAID_OUT:
        assert hasattr(torchvision.datasets, KNOWN_SETS[name].torchvision)


@pytest.mark.parametrize('name', list(LAID_OUT))
def test_a_download_comes_into_the_layout(tmp_path, whole, fake_torchvision, capsys, name):
    data, known = tmp_path / 'data', KNOWN_SETS[name]
    assert main(['data', str(data), '--download', name]) == 0
    out = capsys.readouterr().out
    assert ('still missing' in out) is (name in ('food101', 'sun397'))
    if name in ('food101', 'sun397'):
        assert f'still missing: {data / known.folder / known.split_file}' in out
        assert 'DATASETS.md' in out
    if known.split_file:
        shutil.copy(whole[0] / known.folder / known.split_file, data / known.folder)
    checked = Checked(data, whole[1], capsys, '--sets', name)
    assert checked.exit_status == 0, checked.out
    assert checked.sets[name]['other_place'] is False


@pytest.mark.parametrize(
    ('name', 'mine', 'message'),
    [
        ('dtd', DTD_IMAGE, 'dtd/images exists already and is left as it is'),
        ('fgvc_aircraft', 'fgvc_aircraft/variants.txt', 'exists already; nothing was moved'),
    ],
)
def test_a_download_overwrites_nothing(
    tmp_path, fake_torchvision, capsys, name: str, mine: str, message: str
):
    mine = tmp_path / 'data' / mine
    mine.parent.mkdir(parents=True)
    mine.write_text('mine')
    assert main(['data', str(tmp_path / 'data'), '--download', name]) == 2
    assert message in capsys.readouterr().err
    files = (tmp_path / 'data' / KNOWN_SETS[name].folder).rglob('*')
    assert [file for file in files if file.is_file()] == [mine]
    assert mine.read_text() == 'mine'


def test_a_failed_download_says_so(tmp_path, monkeypatch, capsys):
    def fail(root, download):
        raise OSError('no route to host')

    monkeypatch.setattr(torchvision.datasets, 'DTD', fail)
    assert main(['data', str(tmp_path), '--download', 'dtd']) == 2
    err = capsys.readouterr().err
    assert 'could not fetch dtd (OSError: no route to host)' in err
    assert KNOWN_SETS['dtd'].source in err
    assert not (tmp_path / 'dtd').exists()

"""A user's folder of oddities: each ends with the right image, label or split, or a sentence.

Names, suffixes, modes, orientations and broken files go through one dataset; layouts, tables and
kept splits through one each.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmpretrain.registry import DATASETS, TRANSFORMS
from PIL import Image

from sotglp_mm.class_names.resolve import resolve_class_names
from sotglp_mm.datasets.own_images_dataset import FILE_NAME
from sotglp_mm.io.image_files import find_images

H, W = 6, 9
RGB = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
GREY = RGB[..., 0]
SMOOTH = np.linspace(0, 255, H * W).reshape(H, W)[..., None].repeat(3, -1).astype(np.uint8)
"""For formats with losses."""


def saved(pixels: np.ndarray, mode: str | None = None, **options) -> Callable[[Path], None]:
    """Writes an image; the format is the suffix's if ``format`` is not given."""

    def write(file: Path) -> None:
        image = Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(file, **options)

    return write


def content(data: bytes) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(data)


def cut(file: Path) -> None:
    Image.fromarray(RGB.repeat(9, 0).repeat(9, 1)).save(file)
    file.write_bytes(file.read_bytes()[:200])


def turned(orientation: int) -> tuple[Callable[[Path], None], np.ndarray]:
    """An image whose EXIF tag asks for a turn, and how it is to be seen (EXIF's eight cases)."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = [
        *(RGB, RGB[:, ::-1], RGB[::-1, ::-1], RGB[::-1], RGB.transpose(1, 0, 2)),
        *(np.rot90(RGB, -1), RGB[::-1, ::-1].transpose(1, 0, 2), np.rot90(RGB)),
    ]
    return saved(RGB, exif=exif), seen[orientation - 1]


DEEP = (GREY.astype(np.uint16) << 8) + 7
PALETTE = np.asarray(Image.fromarray(RGB).convert('P').convert('RGB'))
CMYK = np.asarray(Image.fromarray(SMOOTH).convert('CMYK').convert('RGB'))
LOSSY = ('jpg', 'jpeg', 'JPEG', 'jpe', 'jfif', 'JFIF', 'jpg_large')
LOSSLESS = ('png', 'PNG', 'bmp', 'tif', 'TIFF', 'ppm', 'tga', 'sgi', 'qoi', 'jp2', 'pcx', 'dib')
NAMES = (
    *('no_suffix', 'two.dots.in.it', ' blank .png', 'Käfer.png', 'Ka\u0308fer.png', '猫🐈.png'),
    *('new\nline.png', '100%.png', "it's.png", '-rf.png', '{x}.png', '*.png', 'x' * 200 + '.png'),
    *('really_a_png.jpg', 'really_a_png.txt', 'really_a_png.pdf', os.fsdecode(b'caf\xe9.png')),
)
IMAGES: dict[str, tuple[Callable[[Path], None], np.ndarray | str]] = {
    **{f'a.{suffix}': (saved(RGB), RGB) for suffix in LOSSLESS},
    **{name: (saved(RGB, format='PNG'), RGB) for name in NAMES},
    **{f'exif_{n}.png': turned(n) for n in range(1, 9)},
    **{f'lossy.{suffix}': (saved(SMOOTH, format='JPEG', quality=95), SMOOTH) for suffix in LOSSY},
    'lossless.webp': (saved(RGB, lossless=True), RGB),
    'mode_1.png': (saved(GREY, '1'), np.asarray(Image.fromarray(GREY).convert('1')) * 255),
    'mode_L.pgm': (saved(GREY), GREY),
    'mode_L.gif': (saved(GREY), GREY),
    'mode_LA.png': (saved(GREY, 'LA'), GREY),
    'mode_P.png': (saved(RGB, 'P'), PALETTE),
    'mode_RGBA.png': (saved(RGB, 'RGBA'), RGB),
    'mode_CMYK.jpg': (saved(SMOOTH, 'CMYK', quality=95), CMYK),
    'mode_I16.png': (saved(DEEP), GREY),
    'mode_I16_8_bits.png': (saved(GREY.astype(np.uint16)), GREY),
    'mode_I16.tif': (saved(DEEP), GREY),
    'mode_I16.jpg': (saved(DEEP, format='PNG'), GREY),
    'mode_I_8_bits.tif': (saved(GREY.astype(np.int32)), GREY),
    'mode_I_16_bits.tif': (saved(DEEP.astype(np.int32)), GREY),
    'mode_I_24_bits.tif': (saved(DEEP.astype(np.int32) << 8), 'expected 0 to 1, 0 to 255 or'),
    'mode_F_0_1.tif': (saved(GREY.astype(np.float32) / 255), GREY),
    'mode_F_0_255.tif': (saved(GREY.astype(np.float32)), GREY),
    'mode_F_0_65535.tif': (saved(DEEP.astype(np.float32)), GREY),
    'mode_F_nan.tif': (saved(np.full((H, W), np.nan, np.float32)), 'values go from nan to nan'),
    'mode_F_below_0.tif': (saved(GREY.astype(np.float32) - 128), 'values go from -1'),
    'empty.jpg': (content(b''), 'cannot be decoded'),
    'text.png': (content(b'this is no picture'), 'cannot be decoded'),
    'page.jpg': (content(b'<html>404 Not Found</html>'), 'cannot be decoded'),
    'cut.png': (cut, 'cannot be decoded'),
    'cut.jpg': (cut, 'cannot be decoded'),
}
SKIPPED: dict[str, Callable[[Path], None]] = {
    'pipe.png': os.mkfifo,
    'notes.txt': content(b'a, b'),
    'labels.json': content(b'{}'),
    'phone.heic': content(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(40)),
    'film.mpg': content(b'\0\0\x01\xb3' + bytes(40)),
    'empty_file': content(b''),
    'download.jpg.part': saved(RGB, format='PNG'),
    'Thumbs.db': content(b'\xd0\xcf\x11\xe0' + bytes(500)),
}


@pytest.fixture(scope='module')
def odd(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('odd')
    for name in ('odd', 'other'):
        (root / name).mkdir()
    for name, (write, _) in IMAGES.items():
        write(root / 'odd' / name)
    for name, write in SKIPPED.items():
        write(root / 'odd' / name)
    for hidden in ('.hidden.png', '._AppleDouble.png'):
        content(b'x')(root / 'odd' / hidden)
    (root / 'odd' / 'folder.jpg').mkdir()
    for number in range(3):
        saved(RGB)(root / 'odd' / 'folder.jpg' / f'{number}.png')
        saved(RGB)(root / 'other' / f'{number}.png')
    (root / 'odd' / 'up').symlink_to(root)  # a circle
    (root / 'elsewhere.csv').write_text('not a class')
    return root


def build(source: Path, split: str = 'train', **settings):
    config = dict(type='OwnImagesDataset', data_root=str(source), split=split, **settings)
    return DATASETS.build(config)


def load(file: Path, **settings) -> np.ndarray:
    loader = TRANSFORMS.build(dict(type='LoadImageStrict', **settings))
    return loader({'img_path': str(file)})['img']


def test_every_image_is_found_and_every_other_file_counted(odd: Path, logged):
    said = logged('datasets.own_images_dataset')
    found = {}
    for split in ('train', 'val', 'test'):
        dataset = build(odd, split)
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        found.update({os.path.relpath(i['img_path'], odd): i['gt_label'] for i in infos})
    expected = {f'odd/{name}': 0 for name in IMAGES}
    expected |= {f'odd/folder.jpg/{i}.png': 0 for i in range(3)}
    expected |= {f'other/{i}.png': 1 for i in range(3)}
    assert found == expected
    assert f'{len(SKIPPED)} files are no images and are not used: ' in said[0]
    assert find_images(odd / 'odd').skipped == sorted(SKIPPED)


@pytest.mark.parametrize('name', IMAGES, ids=ascii)
def test_every_image_is_read_rightly_or_refused_by_name(odd: Path, name: str):
    file, expected = odd / 'odd' / name, IMAGES[name][1]
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected) as said:
            load(file)
        assert str(file) in str(said.value)
        return
    rgb = expected if expected.ndim == 3 else expected[..., None].repeat(3, -1)
    image = load(file)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(
        image[..., ::-1].astype(int), rgb, atol=4 if name.endswith(LOSSY) else 0
    )


def test_other_ways_to_load(odd: Path, tmp_path: Path):
    turned_file, deep = odd / 'odd/exif_6.png', odd / 'odd/mode_I16.png'
    as_stored = load(turned_file, color_type='color_ignore_orientation')
    np.testing.assert_array_equal(as_stored[..., ::-1], RGB)
    assert load(deep, to_float32=True).dtype == np.float32
    with pytest.raises(FileNotFoundError, match=r'image .*gone\.jpg does not exist'):
        load(tmp_path / 'gone.jpg')
    with pytest.raises(ValueError, match='a folder, a pipe or a device'):
        load(odd / 'odd/pipe.png')
    with pytest.raises(TypeError, match="LoadImageStrict has no setting 'backend'"):
        load(deep, backend='cv2')
    item = dict(img=RGB, gt_label=3)
    assert TRANSFORMS.build(dict(type='LoadImageStrict'))(item) is item


# ------------------------------------------------------------------ layouts

NFC, NFD = 'caf\u00e9', 'cafe\u0301'
LAYOUTS: dict[str, tuple[list[str], dict | str]] = {
    'classes': (['a/0', 'a/1', 'b/2'], dict(train='0a 2b', test='1a')),
    'train and test': (['train/a/0', 'test/b/1', 'train/b/2'], dict(train='0a 2b', test='1b')),
    'capitals': (['Train/a/0', 'TEST/b/1', 'Val/a/2'], dict(train='0a', val='2a', test='1b')),
    'val for test': (['train/a/0', 'val/b/1'], dict(train='0a', val='1b', test='1b')),
    'valid': (['training/a/0', 'Valid/b/1'], dict(train='0a', val='1b', test='1b')),
    'validation': (
        ['train/a/0', 'validation/a/1', 'test/b/2'],
        dict(train='0a', val='1a', test='2b'),
    ),
    'no train': (['val/a/0', 'val/b/1'], "no images for split 'train'; it has ['test', 'val']"),
    'mixed': (['train/a/0', 'cat/1'], "beside them 'cat', which is no name of a split; expected"),
    'mixed, empty': (['train/a/0', 'train/b/1', 'docs/'], "beside them 'docs'"),
    'twice': (['val/a/0', 'valid/b/1', 'train/a/2'], "'val', 'valid' all mean the split 'val'"),
    'splits in classes': (['a/train/0', 'b/Test/1'], "hold folders of splits, 'Test', 'train'"),
    'one folder too much': (['images/train/a/0', 'images/test/b/1'], 'hold folders of splits'),
    'like splits': (['train_set/a/0', 'Test2/a/1'], "'Test2', 'train_set' look like splits, and"),
    'like splits, behind': (['my_train/a/0', '2-VAL/a/1'], "'2-VAL', 'my_train' look like splits"),
    'classes like splits': (['test tube/0', 'trainer/a/1'], dict(train='0test tube 1trainer')),
    'one class': (['a/0', 'a/1'], "there is one class, 'a', and at least two are needed"),
    'stray': (['a/0', 'b/1', '2'], "1 images lie in no class folder: '2'"),
    'stray in a split': (['train/a/0', 'test/1'], "1 images lie in no class folder: 'test/1'"),
    'empty class': (['a/0', 'b/1', 'c/'], "the class folder 'c' has no image"),
    'unreadable class': (['a/0', 'b/1', 'c/x.jpg'], "'c' has only 'c/x.jpg', which Pillow cannot"),
    'foreign class': (['a/0', 'b/1', 'c/x.heic'], "'c' has only 'c/x.heic', which Pillow"),
    'empty class in test': (['train/a/0', 'test/b/1', 'test/a/'], "'test/a' has no image"),
    'nothing': ([], 'there is no image; expected FOLDER/<class>/<image>'),
    'text alone': (['a/x.txt'], "there is no image; skipped as no images: 'a/x.txt'"),
    'deeper': (['a/2023/0', 'a/2024/1', 'b/2'], dict(train='0a 2b', test='1a')),
    'capitals of a class': (
        ['train/Crane/0', 'train/b/1', 'test/crane/2'],
        "the class 'Crane' of train is 'crane' in test: the names differ only in",
    ),
    'underscores': (['train/a_b/0', 'test/a b/1'], 'differ only in capitals, underscores or'),
    'wide letters': (['train/\uff41/0', 'test/a/1'], 'differ only in capitals, underscores or'),
    'Unicode forms': (
        [f'train/{NFC}/0', f'test/{NFD}/1', 'train/b/2'],
        dict(train=f'0{NFC} 2b', test=f'1{NFC}'),
    ),
    'Unicode twins': ([f'{NFC}/0', f'{NFD}/1'], 'two folders are called'),
    'a class that is no text': (
        ['a/0', os.fsdecode(b'caf\xe9/1')],
        r"the name of the class folder 'caf\udce9' is not UTF-8",
    ),
    'a link to nowhere': (['a/0', 'b/1', 'b/gone.png ->'], 'b/gone.png'),
}


def write_files(root: Path, files: list[str]) -> None:
    root.mkdir(exist_ok=True)
    for path in files:
        file = root / path.removesuffix(' ->')
        (file if path.endswith('/') else file.parent).mkdir(parents=True, exist_ok=True)
        if path.endswith(' ->'):
            file.symlink_to('nowhere')
        elif file.suffix:
            file.write_text('no image')
        elif not path.endswith('/'):
            saved(RGB, format='PNG')(file)


def samples(dataset) -> str:
    """File and class of each image, sorted by file."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    names = [f'{Path(i["img_path"]).name}{dataset.CLASSES[i["gt_label"]]}' for i in infos]
    return ' '.join(sorted(names))


@pytest.mark.parametrize('case', LAYOUTS, ids=ascii)
def test_layouts(tmp_path: Path, case: str, logged):
    said = logged('datasets.own_images_dataset')
    files, expected = LAYOUTS[case]
    write_files(tmp_path / 'own', files)
    if isinstance(expected, str):
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            build(tmp_path / 'own')
        assert expected in str(error.value) and str(tmp_path / 'own') in str(error.value)
        return
    for split, names in expected.items():
        assert samples(build(tmp_path / 'own', split)) == names
    told = any('no split test, so val serves as test' in text for text in said)
    assert told is (expected.get('val', '-') == expected.get('test'))
    assert resolve_class_names(str(tmp_path / 'own')) == build(tmp_path / 'own').CLASSES
    with pytest.raises(ValueError, match="split='all' is not known"):
        build(tmp_path / 'own', 'all')


# ------------------------------------------------------------------ tables

HEAD = 'path,label,split'
TABLES: dict[str, tuple[list[str], dict | str]] = {
    'splits': (
        [HEAD, '0,"b, c",train', '1,a,train', '2,a,test'],
        dict(train='0b, c 1a', test='2a'),
    ),
    'no splits': (['path,label', '0,a', '1,b', '2,b'], dict(train='0a 2b', test='1b')),
    'capitals': ([HEAD, '0,a,TRAIN', '1,b,Valid'], dict(train='0a', val='1b', test='1b')),
    'normalised': ([HEAD, './0,a,train', './/1,b,test'], dict(train='0a', test='1b')),
    'byte order mark': (['\ufeff' + HEAD, '0,a,train', '1,b,test'], dict(train='0a', test='1b')),
    'Unicode forms': (
        [HEAD, f'0,{NFC},train', f'1,{NFD},test', '2,b,test'],
        dict(test=f'1{NFC} 2b'),
    ),
    'repeats': ([HEAD, '0,a,train', './0,a,train', '1,b,test'], dict(train='0a', test='1b')),
    'two labels': (['path,label', '0,a', './0,b'], "0 is both 'a' and 'b'"),
    'two splits': ([HEAD, '0,a,train', './/0,a,test', '1,b,test'], '0 is in two splits, '),
    'other columns': (['file,label', '0,a'], "its columns are ('file', 'label'); expected path,"),
    'no line': (['path,label'], 'there is no line below the header'),
    'too few values': (['path,label', '0'], 'line 2 does not have a value for each column'),
    'too many values': (['path,label', '0,a,b'], 'line 2 does not have a value for each column'),
    'unknown split': ([HEAD, '0,a,holdout'], "line 2: split 'holdout' is not known"),
    'outside': (['path,label', '../0,a'], "line 2: '../0' is not a path below"),
    'missing': (['path,label', '0,a', 'gone,b'], 'gone'),
    'a class in other capitals': (
        [HEAD, '0,Cat,train', '1,cat,test', '2,b,test'],
        "'Cat' of train",
    ),
}


@pytest.mark.parametrize('case', TABLES)
def test_tables(tmp_path: Path, logged, case: str):
    said = logged('datasets.own_images_dataset')
    lines, expected = TABLES[case]
    write_files(tmp_path, ['0', '1', '2'])
    table = tmp_path / 'list.csv'
    table.write_text('\n'.join(lines))
    if isinstance(expected, str):
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            build(table)
        assert expected in str(error.value)
        assert 'list.csv' in str(error.value)
        return
    for split, names in expected.items():
        assert samples(build(table, split)) == names
    assert (case == 'repeats') == any('1 repeated lines are dropped' in text for text in said)
    assert (tmp_path / f'list_{FILE_NAME}').is_file() == (lines[0] == 'path,label')
    with pytest.raises(ValueError, match=r'list\.txt: expected a folder, or a \.csv file'):
        build(table.rename(tmp_path / 'list.txt'))
    with pytest.raises(FileNotFoundError, match=r'list\.csv does not exist; expected a folder'):
        build(table)


# ------------------------------------------------------------------ a split that was kept


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A table whose images were split in an earlier run: half of each class is for training."""
    write_files(tmp_path, [str(i) for i in range(12)])
    write_table(tmp_path, {str(i): 'ab'[i % 2] for i in range(12)})
    sizes = {split: len(build(tmp_path / 'list.csv', split)) for split in ('train', 'val', 'test')}
    assert sizes == dict(train=6, val=2, test=4)  # of 6 images each of two classes
    return tmp_path


def write_table(folder: Path, label_of: dict[str, str]) -> None:
    lines = ['path,label', *(f'{path},{label}' for path, label in label_of.items())]
    (folder / 'list.csv').write_text('\n'.join(lines))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda label_of: label_of.update({'3': 'a', '4': 'b'}), r'2 images have another label'),
        (lambda label_of: label_of.pop('5'), r"1 of its images are not there any more: '5'"),
        (
            lambda label_of: label_of.update({'0': 'c'}),
            r"it has 2 classes and the images 3 \('c'\)",
        ),
    ],
    ids=['labels corrected', 'a line removed', 'a new class'],
)
def test_an_edited_table_does_not_fit_its_kept_split(kept: Path, change, message: str):
    label_of = {str(i): 'ab'[i % 2] for i in range(12)}
    change(label_of)
    write_table(kept, label_of)
    expected = rf'list_{FILE_NAME} was drawn from other images .*{message}.* Delete the file to'
    with pytest.raises(ValueError, match=expected):
        build(kept / 'list.csv')
    (kept / f'list_{FILE_NAME}').unlink()
    drawn = ' '.join(
        samples(build(kept / 'list.csv', split)) for split in ('train', 'val', 'test')
    )
    assert sorted(drawn.split()) == sorted(f'{path}{label}' for path, label in label_of.items())


def test_a_kept_split_waits_for_new_images_and_is_not_tampered_with(kept: Path, logged):
    said = logged('datasets.own_images_dataset')
    before = samples(build(kept / 'list.csv'))
    write_files(kept, ['12'])
    write_table(kept, {str(i): 'ab'[i % 2] for i in range(13)})
    assert samples(build(kept / 'list.csv')) == before
    assert "1 images are not in the kept split and are not used: '12'" in said[0]
    file = kept / f'list_{FILE_NAME}'
    splits = json.loads(file.read_text())
    splits['test'].append(splits['train'][0])
    file.write_text(json.dumps(splits))
    with pytest.raises(ValueError, match=r'1 of its images are listed twice'):
        build(kept / 'list.csv')
    file.write_text('{')
    with pytest.raises(ValueError, match=r'is not JSON.*; delete it to split anew'):
        build(kept / 'list.csv')

"""Loading an image: any mode becomes three channels, any failure names the file."""

from pathlib import Path

import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS
from PIL import Image

HEIGHT, WIDTH = 6, 9


def load(file: Path, **settings) -> dict:
    return TRANSFORMS.build(dict(type='LoadImageStrict', **settings))({'img_path': str(file)})


def test_channels_are_bgr(tmp_path: Path):
    Image.new('RGB', (WIDTH, HEIGHT), (250, 120, 10)).save(tmp_path / 'rgb.png')
    results = load(tmp_path / 'rgb.png')
    expected = np.broadcast_to(np.array([10, 120, 250], np.uint8), (HEIGHT, WIDTH, 3))
    np.testing.assert_array_equal(results['img'], expected)
    assert results['img_shape'] == results['ori_shape'] == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ('mode', 'colour', 'suffix'),
    [
        ('L', 200, 'png'),
        ('1', 1, 'png'),
        ('LA', (200, 255), 'png'),
        ('RGBA', (10, 20, 30, 255), 'png'),
        ('P', 3, 'png'),
        ('P', 3, 'gif'),
        ('CMYK', (10, 20, 30, 40), 'jpg'),
    ],
)
def test_other_modes_become_three_channels(tmp_path: Path, mode: str, colour, suffix: str):
    file = tmp_path / f'image.{suffix}'
    Image.new(mode, (WIDTH, HEIGHT), colour).save(file)
    with Image.open(file) as image:
        assert image.mode == mode  # what is read is what the test is about
        expected = np.asarray(image.convert('RGB'))[..., ::-1]
    found = load(file)['img']
    assert found.shape == (HEIGHT, WIDTH, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('suffix', ['png', 'tif', 'pgm'])
def test_grey_of_16_bits_is_scaled(tmp_path: Path, suffix: str):
    levels = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    if suffix == 'pgm':  # Pillow 10 reads it, but cannot write it
        header = f'P5 {WIDTH} {HEIGHT} 65535\n'.encode()
        (tmp_path / 'deep.pgm').write_bytes(header + levels.astype('>u2').tobytes())
    else:
        Image.fromarray(levels).save(tmp_path / f'deep.{suffix}')
    found = load(tmp_path / f'deep.{suffix}')['img']
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, (levels // 256)[..., None].repeat(3, axis=-1))


@pytest.mark.parametrize(('top', 'shift'), [(255, 0), (65535, 8)])
def test_grey_of_32_bits_is_scaled_where_it_needs_to_be(tmp_path: Path, top: int, shift: int):
    levels = np.linspace(0, top, HEIGHT * WIDTH).astype(np.int32).reshape(HEIGHT, WIDTH)
    Image.fromarray(levels).save(tmp_path / 'wide.tif')
    with Image.open(tmp_path / 'wide.tif') as image:
        assert image.mode == 'I'
    found = load(tmp_path / 'wide.tif')['img']
    np.testing.assert_array_equal(found, (levels >> shift)[..., None].repeat(3, axis=-1))


def test_orientation_is_applied(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / 'turned.png', exif=exif)
    results = load(tmp_path / 'turned.png')
    np.testing.assert_array_equal(results['img'], np.rot90(pixels, -1)[..., ::-1])
    assert results['img_shape'] == (WIDTH, HEIGHT)


def test_an_image_that_is_there_already_is_left_alone():
    item = dict(img=np.zeros((HEIGHT, WIDTH, 3), np.uint8), gt_label=3)
    loader = TRANSFORMS.build(dict(type='LoadImageStrict'))
    assert loader(item) is item
    assert set(item) == {'img', 'gt_label'}


@pytest.mark.parametrize('content', [b'', b'this is no picture'], ids=['empty', 'text'])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes):
    (tmp_path / 'broken.jpg').write_bytes(content)
    with pytest.raises(ValueError, match=r'image .*broken\.jpg cannot be decoded'):
        load(tmp_path / 'broken.jpg')


def test_a_picture_that_is_cut_off_is_named(tmp_path: Path):
    file = tmp_path / 'cut.png'
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r'image .*cut\.png cannot be decoded'):
        load(file)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r'image .*gone\.jpg does not exist'):
        load(tmp_path / 'gone.jpg')


def test_unknown_setting_is_refused():
    with pytest.raises(TypeError, match=r"LoadImageStrict has no setting 'backend'"):
        TRANSFORMS.build(dict(type='LoadImageStrict', backend='cv2'))

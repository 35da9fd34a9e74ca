"""Pretraining on photographs, with drawn images in the same layouts: runs, resumes, measures."""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import open_clip
import pytest
from mini_data import write_set
from PIL import Image

REPO = Path(__file__).parents[2]
sys.path.insert(0, str(REPO / 'tools' / 'studies'))

import box_study  # noqa: E402
import photo_batches  # noqa: E402
import photo_folder  # noqa: E402
import photo_tokens  # noqa: E402
import pretrain_photos  # noqa: E402

from sotglp_mm.demo.captions import write_merges  # noqa: E402

NAMES = {
    'n01': 'red thing, ruby',
    'n02': 'green thing, emerald',
    'n03': 'blue thing, sapphire',
    'n99': 'ghost, spectre',
}
_TINY = """
    --steps 4 --batch 6 --mosaics 3 --scenes 3 --synonyms 3 --warmup 1 --width 64 --layers 2
    --text-width 64 --text-layers 1 --threads 1 --eval-scenes 8 --finish 0.5 --save-every 0
"""
TINY = _TINY.split()


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Photographs in Tiny-ImageNet's layout, one primary colour a class, and $DATA."""
    root = tmp_path_factory.mktemp('data')
    photos, rows = root / 'photos', []
    for label, key in enumerate(sorted(NAMES)[:3]):
        for number in range(4):
            write_photo(photos / f'train/{key}/images/{key}_{number}.JPEG', label)
        name = f'val_{label}.JPEG'
        write_photo(photos / 'val/images' / name, label)
        rows.append(f'{name}\t{key}\t8\t16\t39\t63')
    (photos / 'val/val_annotations.txt').write_text('\n'.join(rows) + '\n')
    (photos / 'words.txt').write_text(''.join(f'{k}\t{v}\n' for k, v in NAMES.items()))
    for name in ('eurosat', 'caltech101'):
        write_set(root / 'data', name)
    return photos, root / 'data'


def write_photo(file, channel, size=(64, 64)):
    pixels = np.full((*size[::-1], 3), 40, np.uint8)
    pixels[..., channel] = 200
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def pretrain(folders, out, *more):
    photos, data = map(str, folders)
    paths = ['--photos', photos, '--data', data, '--out', str(out)]
    pretrain_photos.main([*paths, *TINY, *more])


@pytest.fixture(scope='module')
def out(folders, tmp_path_factory):
    folder = tmp_path_factory.mktemp('out')
    pretrain(folders, folder)
    return folder


def test_writes_a_clip_and_what_it_reaches(out):
    report = json.loads((out / 'sotglp_photos.report.json').read_text())
    assert report['settings']['steps'] == 4
    reached = report['reached']
    assert set(reached) == {'photos', 'linear_probe', 'scenes'}
    # patches whose centres lie in the box: columns 1 to 4, rows 2 to 7
    assert reached['photos']['pointing_chance'] == 4 * 6 / 64
    # the colours of the miniatures tell their classes even from an untrained tower
    assert all(value > 0.5 for value in reached['linear_probe'].values())
    assert 0 <= reached['scenes']['pointing_vv'] <= 1


def test_a_killed_run_ends_at_the_same_weights(folders, out, tmp_path, monkeypatch):
    update = pretrain_photos.Run.update

    def killed_at_the_third(run, *batch):
        if run.step == 2:
            raise KeyboardInterrupt
        return update(run, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(pretrain_photos.Run, 'update', killed_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            pretrain(folders, tmp_path)
    assert not (tmp_path / 'sotglp_photos.safetensors').exists()
    with pytest.raises(ValueError, match=r'other settings.*seed.*another --out'):
        pretrain(folders, tmp_path, '--seed', '5')
    pretrain(folders, tmp_path)
    for name in ('sotglp_photos.safetensors', 'sotglp_photos_bpe.txt.gz', 'sotglp_photos.json'):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_regions_of_mosaics_show_their_classes(folders, tmp_path):
    photos = photo_folder.read_train(folders[0], tmp_path)
    mosaics = photo_batches.draw_mosaics(photos, 5, np.random.default_rng(0))
    patches = mosaics.images.reshape(5, 8, 8, 8, 8, 3).mean((2, 4)).reshape(5, 64, 3)
    colours = mosaics.regions @ patches
    np.testing.assert_array_equal(colours.argmax(-1), mosaics.labels)
    np.testing.assert_allclose(mosaics.regions.sum(-1), 1, rtol=1e-5)


def test_photographs_are_decoded_once_and_names_checked(folders, tmp_path):
    first = photo_folder.read_train(folders[0], tmp_path)
    assert first.images.shape == (12, 64, 64, 3)
    assert first.images[0, 0, 0].argmax() == 0
    decoded = list(tmp_path.glob('train_64_*.npy'))
    photo_folder.read_train(folders[0], tmp_path)
    assert list(tmp_path.glob('*.npy')) == decoded
    photo = next((folders[0] / 'train').rglob('images/*'))
    os.utime(photo, (1, 1))  # replaced, perhaps
    photo_folder.read_train(folders[0], tmp_path)
    assert len(list(tmp_path.glob('*.npy'))) == len(decoded) + 1
    write_photo(tmp_path / 'wide.png', 2, size=(200, 100))  # its middle is kept
    assert photo_folder.read_image(tmp_path / 'wide.png').shape == (64, 64, 3)
    (tmp_path / 'train').symlink_to(folders[0] / 'train')
    for text, message in (
        ('n01 red thing\n', 'line 1.*a tab'),
        ('n01\tred thing\n', r"no names for.*\['n02', 'n03'\]"),
    ):
        (tmp_path / 'words.txt').write_text(text)
        with pytest.raises(ValueError, match=message):
            photo_folder.class_ids(tmp_path)


def test_frequent_words_become_single_tokens(tmp_path):
    words = Counter({'photo': 9, 'phone': 8, 'aaaa': 7, 'rare': 1})
    merges = photo_tokens.frequent_merges(words, 10)
    write_merges(merges, tmp_path / 'bpe.txt.gz')
    tokenizer = open_clip.SimpleTokenizer(str(tmp_path / 'bpe.txt.gz'))
    lengths = {word: len(tokenizer.encode(word)) for word in words}
    assert lengths['photo'] == lengths['phone'] == lengths['aaaa'] == 1 < lengths['rare']
    everything = photo_tokens.frequent_merges(words, 1000)
    assert everything[:10] == merges and len(everything) < 20


def test_boxes(folders, tmp_path, monkeypatch, capsys):
    """Photographs without a pattern: no patch is better than another."""
    words = ['--photos', str(folders[0]), '--work-dir', str(tmp_path), '--seeds', '1']
    monkeypatch.setattr(sys, 'argv', ['box_study.py', *words, '--shots', '4', '--epochs', '1'])
    box_study.main()
    rows = json.loads((tmp_path / 'boxes.json').read_text())
    assert [(row['stream'], row['variant']) for row in rows] == [
        (stream, variant) for stream in box_study.STREAMS for variant in box_study.VARIANTS
    ]
    for row in rows:
        metrics = {key: values[0] for key, values in row['metrics'].items()}
        # 4 columns and 6 rows of 8 by 8 patches
        assert metrics['chance'] == pytest.approx(100 * 24 / 64)
        assert metrics['least'] <= metrics['mass'] <= metrics['most']
        assert 0 <= metrics['support'] <= 100
    assert '| V-V | paper |' in capsys.readouterr().out

"""A user's own images, in their three forms, through reader, class names and dataset."""

from pathlib import Path

import pytest
from mini_data import write_image
from mmpretrain.registry import DATASETS

from sotglp_mm.class_names.resolve import resolve_class_names
from sotglp_mm.datasets.own_split import FILE_NAME
from sotglp_mm.io.own_images import image_files, read_own_images


def build(source: Path, **settings):
    return DATASETS.build(dict(type='OwnImagesDataset', data_root=str(source), **settings))


def samples(dataset) -> list[tuple[str, int]]:
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(Path(info['img_path']).name, info['gt_label']) for info in infos]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / 'photos'
    for label, (name, count) in enumerate({'cat': 10, 'sea dog': 5}.items()):
        for i in range(count):
            write_image(root / name / f'{name[0]}{i}.jpg', label)
    return root


def test_a_folder_for_each_class(folder: Path):
    assert resolve_class_names(str(folder)) == ('cat', 'sea dog')
    parts = {split: build(folder, split=split) for split in ('train', 'val', 'test')}
    assert [len(part) for part in parts.values()] == [5 + 2, 2 + 1, 3 + 2]
    everything = sorted(sample for part in parts.values() for sample in samples(part))
    assert everything == sorted(
        [(f'c{i}.jpg', 0) for i in range(10)] + [(f's{i}.jpg', 1) for i in range(5)]
    )
    assert tuple(parts['val'].metainfo['classes']) == ('cat', 'sea dog')


def test_image_files_are_files_gifs_among_them(tmp_path: Path):
    (tmp_path / 'dir.jpg').mkdir()
    for name in ('dir.jpg/a.png', 'b.GIF', 'notes.txt', '.hidden.png'):
        (tmp_path / name).touch()
    assert image_files(tmp_path) == ['b.GIF', 'dir.jpg/a.png']


def test_the_split_stays_when_images_come(folder: Path, monkeypatch):
    before = samples(build(folder))
    write_image(folder / 'cat' / 'aaa.jpg', 0)
    told = []
    monkeypatch.setattr(
        'sotglp_mm.datasets.own_split.print_log', lambda text, **_: told.append(text)
    )
    assert samples(build(folder)) == before
    assert '1 images are not in' in told[0] and 'cat/aaa.jpg' in told[0]


def test_a_new_class_does_not_slip_in(folder: Path):
    build(folder)
    write_image(folder / 'cow' / 'w.jpg', 2)
    with pytest.raises(
        ValueError, match=rf"{FILE_NAME} has 2 classes, and the images 3 \(\['cow'\]"
    ):
        build(folder)


def test_folders_for_train_and_test(tmp_path: Path):
    for split, name, file in (
        ('train', 'b', '0.jpg'),
        ('train', 'a', '1.jpg'),
        ('test', 'a', '2.jpg'),
    ):
        write_image(tmp_path / split / name / file, 0)
    assert resolve_class_names(str(tmp_path)) == ('a', 'b')
    assert samples(build(tmp_path)) == [('1.jpg', 0), ('0.jpg', 1)]
    assert samples(build(tmp_path, split='test')) == [('2.jpg', 0)]
    assert not (tmp_path / FILE_NAME).exists()
    with pytest.raises(ValueError, match=r"no images for split 'val'; it has \['test', 'train'\]"):
        build(tmp_path, split='val')


def test_a_table(tmp_path: Path):
    for i in range(4):
        write_image(tmp_path / 'all' / f'{i}.jpg', i)
    table = tmp_path / 'list.csv'
    table.write_text(
        'path,label,split\nall/0.jpg,"dog, big",train\nall/1.jpg,cat,train\nall/2.jpg,cat,test\n'
    )
    assert resolve_class_names(str(table)) == ('cat', 'dog, big')
    assert samples(build(table)) == [('0.jpg', 1), ('1.jpg', 0)]
    assert samples(build(table, split='test')) == [('2.jpg', 0)]


def test_a_table_without_splits_gets_one_of_its_own_name(tmp_path: Path):
    rows = []
    for i in range(6):
        write_image(tmp_path / f'{i}.jpg', i % 2)
        rows.append(f'{i}.jpg,{"ab"[i % 2]}\n')
    table = tmp_path / 'list.csv'
    table.write_text('path,label\n' + ''.join(rows))
    assert len(build(table)) == 4
    assert (tmp_path / f'list_{FILE_NAME}').is_file()


@pytest.mark.parametrize(
    'text, message',
    [
        ('file,label\na.jpg,cat\n', r"its columns are \('file', 'label'\); expected path,label"),
        ('path,label\n', 'there is no line below the header'),
        ('path,label\na.jpg\n', 'line 2 does not have a value for each column'),
        ('path,label\na.jpg,cat,dog\n', 'line 2 does not have a value for each column'),
        ('path,label,split\na.jpg,cat,training\n', "line 2: split 'training' is not known"),
        ('path,label\n../a.jpg,cat\n', r"line 2: '../a.jpg' is not a path below"),
        ('path,label\na.jpg,cat\na.jpg,dog\n', "a.jpg is both 'cat' and 'dog'"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, message: str):
    table = tmp_path / 'list.csv'
    table.write_text(text)
    with pytest.raises(ValueError, match=rf'list\.csv: .*{message}'):
        read_own_images(table)


def test_other_files_and_nothing(tmp_path: Path):
    (tmp_path / 'list.txt').write_text('a.jpg cat')
    with pytest.raises(ValueError, match=r'list\.txt: expected a folder, or a \.csv file'):
        read_own_images(tmp_path / 'list.txt')
    with pytest.raises(FileNotFoundError, match='nowhere does not exist; expected a folder'):
        read_own_images(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match=r'expected <class>/<image>; there is no image'):
        read_own_images(tmp_path)


def test_an_image_in_no_class(folder: Path):
    write_image(folder / 'stray.jpg', 0)
    with pytest.raises(ValueError, match=r'1 images lie in no class, the first is stray\.jpg'):
        read_own_images(folder)


def test_a_class_folder_that_is_a_link(folder: Path, tmp_path: Path):
    (folder / 'sea dog').rename(tmp_path / 'elsewhere')
    (folder / 'sea dog').symlink_to(tmp_path / 'elsewhere')
    own = read_own_images(folder)
    assert own.classes == ('cat', 'sea dog')
    assert ('sea dog/s4.jpg', 'sea dog') in own.labelled and len(own.labelled) == 15
    assert len(build(folder, split='train')) == 5 + 2


def test_links_in_a_circle_are_followed_once(tmp_path: Path):
    for name in ('a', 'b'):
        write_image(tmp_path / 'top' / name / 'x.jpg', 0)
        (tmp_path / 'top' / name / 'up').symlink_to(tmp_path / 'top')
        (tmp_path / 'top' / name / 'itself').symlink_to(tmp_path / 'top' / name)
    (tmp_path / 'top/a/to_b').symlink_to(tmp_path / 'top/b')
    (tmp_path / 'top/b/to_a').symlink_to(tmp_path / 'top/a')
    found = image_files(tmp_path / 'top')
    assert found == ['a/to_b/x.jpg', 'a/x.jpg', 'b/to_a/x.jpg', 'b/x.jpg']

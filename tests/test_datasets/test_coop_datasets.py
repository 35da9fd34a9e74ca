"""CoOp's layouts: what is read, and which file or row an error names."""

import itertools
import json
from pathlib import Path

import pytest
from mini_data import AIRCRAFT, write_image, write_set
from mmpretrain.registry import DATASETS
from PIL import Image
from timm.data import ImageNetInfo

SPLITS = {
    'train': [
        ['dog/d0.png', 1, 'sea dog'],
        ['cat/c0.png', 0, 'cat'],
        ['dog/d1.png', 1, 'sea dog'],
    ],
    'val': [['cat/c1.png', 0, 'cat']],
    'test': [['cow/w0.png', 2, 'cow'], ['cat/c2.png', 0, 'cat']],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / 'pets'
    for relative, *_ in itertools.chain(*SPLITS.values()):
        file = root / 'images' / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (5, 4)).save(file)
    write(root, SPLITS)
    return root


def write(root: Path, splits) -> None:
    (root / 'split.json').write_text(json.dumps(splits))


def build(root: Path, **settings):
    config = dict(type='CoOpSplitDataset', data_root=str(root), split_file='split.json')
    return DATASETS.build({**config, **settings})


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_rows_in_the_order_of_the_file(root: Path, split: str):
    dataset = build(root, split=split)
    found = [
        (dataset.get_data_info(i)['img_path'], dataset.get_data_info(i)['gt_label'])
        for i in range(len(dataset))
    ]
    expected = [(str(root / 'images' / path), label) for path, label, _ in SPLITS[split]]
    assert found == expected
    assert dataset.test_mode is (split != 'train')


def test_class_names_come_from_all_splits(root: Path):
    # the train split alone has no cow
    assert tuple(build(root).metainfo['classes']) == ('cat', 'sea dog', 'cow')


def test_images_right_below_the_root(root: Path):
    dataset = build(root / 'images', data_prefix='.', split_file='../split.json')
    assert Path(dataset.get_data_info(0)['img_path']).samefile(root / 'images/dog/d0.png')


def test_what_is_missing_is_named(root: Path):
    with pytest.raises(FileNotFoundError, match=r'data_root .*nowhere does not exist'):
        build(root / 'nowhere')
    with pytest.raises(FileNotFoundError, match=r'split file .*split_zhou\.json does not exist'):
        build(root, split_file='split_zhou.json')
    (root / 'images/cat/c0.png').unlink()
    (root / 'images/dog/d1.png').unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 3 images of split 'train'.*cat/c0\.png"):
        build(root)
    assert len(build(root, split='test')) == 2  # whose images are all there
    write(root, {'train': SPLITS['train'], 'test': SPLITS['test']})
    with pytest.raises(ValueError, match=r"has no split 'val'; it has \['test', 'train'\]"):
        build(root, split='val')


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (
            dict(test=[['cow/w0.png', 2, 'cow'], ['./cat/c0.png', 0, 'cat']]),
            r"has \./cat/c0\.png in 'train' as 'cat' and in 'test' as 'cat'; an image of train",
        ),
        (
            dict(val=[['cow/w0.png', 0, 'cat']]),
            r"has cow/w0\.png in 'val' as 'cat' and in 'test' as 'cow'",
        ),
    ],
    ids=['in two splits', 'two labels'],
)
def test_one_image_twice(root: Path, changed: dict, message: str):
    write(root, {**SPLITS, **changed})
    with pytest.raises(ValueError, match=message):
        build(root)
    write(root, {**SPLITS, 'val': SPLITS['test']})  # val may serve as test
    assert len(build(root, split='test')) == 2


def test_a_list_that_cannot_be_used(root: Path):
    write(root, dict(train=[], test=SPLITS['train'] + SPLITS['test']))
    with pytest.raises(ValueError, match=r"split 'train' of .*split\.json names no image"):
        build(root)
    write(root, {**SPLITS, 'val': [['cat/../../secret.png', 0, 'cat']]})
    with pytest.raises(ValueError, match=r"json names 'cat/\.\./.*; expected a path below"):
        build(root)


@pytest.fixture
def aircraft_root(tmp_path: Path) -> Path:
    write_set(tmp_path, 'fgvc_aircraft')
    return tmp_path / 'fgvc_aircraft'


def build_aircraft(aircraft_root: Path, **settings):
    return DATASETS.build(
        dict(type='CoOpAircraftDataset', data_root=str(aircraft_root), **settings)
    )


def test_train_and_val_together(aircraft_root: Path):
    train, val = (
        build_aircraft(aircraft_root, split='train'),
        build_aircraft(aircraft_root, split='val'),
    )
    both = build_aircraft(aircraft_root, split='trainval')
    paths = [d.get_data_info(i)['img_path'] for d in (train, val) for i in range(len(d))]
    assert [both.get_data_info(i)['img_path'] for i in range(len(both))] == paths
    assert len(both) == 3 * (4 + 1)
    assert not both.test_mode
    assert tuple(both.metainfo['classes']) == AIRCRAFT


def test_the_list_from_which_the_released_program_draws(aircraft_root: Path):
    lines = [*(aircraft_root / 'images_variant_val.txt').read_text().splitlines()]
    lines += (aircraft_root / 'images_variant_train.txt').read_text().splitlines()
    (aircraft_root / 'images_variant_trainval.txt').write_text('\n'.join(lines))
    listed = build_aircraft(aircraft_root, split='trainval_file')
    paths = [Path(listed.get_data_info(i)['img_path']).stem for i in range(len(listed))]
    assert paths == [line.split()[0] for line in lines]
    assert not listed.test_mode


@pytest.mark.parametrize(
    ('name', 'more', 'message'),
    [
        (
            'images_variant_val.txt',
            '1000001 Flying Saucer\n',
            r"variant_val.txt, line 4: '1000001 Flying Saucer'",
        ),
        ('variants.txt', f'{AIRCRAFT[0]}\n', rf'variants\.txt names {AIRCRAFT[0]!r} twice'),
        ('variants.txt', None, r'variants\.txt does not exist; expected the'),
    ],
)
def test_lists_that_cannot_be_used_are_named(
    aircraft_root: Path, name: str, more: str | None, message
):
    file = aircraft_root / name
    file.unlink() if more is None else file.write_text(file.read_text() + more)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build_aircraft(aircraft_root, split='val')
    with pytest.raises(ValueError, match=r"split='tests' is not known; choose one of"):
        build_aircraft(aircraft_root, split='tests')


def test_an_absent_image_of_aircraft_is_named(aircraft_root: Path):
    missing = sorted((aircraft_root / 'images').iterdir())[0]
    missing.unlink()
    with pytest.raises(FileNotFoundError, match=rf'1 of 12 images.*{missing.name}'):
        build_aircraft(aircraft_root)


# made in another order than the sorted one that labels follow; the first and last share a name
FILES = {'n03': ['a.JPEG'], 'n01': ['b.JPEG', 'c.JPEG'], 'n02': ['d.JPEG']}
NAMES = ['missile', 'goldfish', 'missile']


@pytest.fixture
def imagenet_root(tmp_path: Path) -> Path:
    for split in ('train', 'val'):
        for wnid, names in FILES.items():
            folder = tmp_path / 'images' / split / wnid
            folder.mkdir(parents=True)
            for name in names:
                Image.new('RGB', (5, 4)).save(folder / f'{split}_{name}', format='JPEG')
    return tmp_path


def build_imagenet(imagenet_root: Path, **settings):
    config = dict(type='CoOpImageNetDataset', data_root=str(imagenet_root), class_names=NAMES)
    return DATASETS.build({**config, **settings})


@pytest.mark.parametrize('split', ['train', 'val'])
def test_labels_are_ranks_of_wordnet_ids(imagenet_root: Path, split: str):
    dataset = build_imagenet(imagenet_root, split=split)
    dataset.full_init()
    found = {}
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        found[Path(info['img_path']).relative_to(imagenet_root).as_posix()] = info['gt_label']
    expected = {
        f'images/{split}/{wnid}/{split}_{name}': sorted(FILES).index(wnid)
        for wnid, names in FILES.items()
        for name in names
    }
    assert found == expected
    assert dataset.test_mode is (split != 'train')


def test_classes_with_the_same_name_stay_two_and_stray_files_are_none(imagenet_root: Path):
    (imagenet_root / 'images/train/README.txt').write_text('not a class')
    dataset = build_imagenet(imagenet_root)
    assert tuple(dataset.metainfo['classes']) == tuple(NAMES)
    assert list(dataset.metainfo['wnids']) == ['n01', 'n02', 'n03']
    assert set(dataset.get_gt_labels()) == {0, 1, 2}


def test_folders_that_do_not_fit_are_named(imagenet_root: Path):
    with pytest.raises(ValueError, match=r'images/train has 3 class folders; expected 1000'):
        build_imagenet(imagenet_root, class_names='imagenet')
    with pytest.raises(FileNotFoundError, match=r'images/test does not exist.*<WordNet id>'):
        build_imagenet(imagenet_root, split='test')


def test_a_folder_that_is_no_class_of_imagenet_is_named(tmp_path: Path):
    wnids = ImageNetInfo().label_names()
    for wnid in ['n99999999', *wnids[1:]]:
        (tmp_path / 'images' / 'val' / wnid).mkdir(parents=True)
    with pytest.raises(ValueError, match=rf'n99999999 is no class of .*{wnids[0]}'):
        build_imagenet(tmp_path, split='val', class_names='imagenet')


def build_unlabelled(root: Path, **settings):
    return DATASETS.build(
        dict(type='UnlabelledImagesDataset', data_root=str(root), data_prefix='pics', **settings)
    )


def test_all_images_at_any_depth_and_nothing_else(tmp_path: Path):
    for path in ('b.jpg', 'deep/er/a.JPEG', '.hidden/c.jpg'):
        write_image(tmp_path / 'pics' / path, 0)
    (tmp_path / 'pics' / 'list.txt').write_text('b.jpg')
    dataset = build_unlabelled(
        tmp_path, pipeline=[dict(type='LoadImageStrict'), dict(type='PackInputs')]
    )
    found = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    assert found == [str(tmp_path / 'pics' / p) for p in ('b.jpg', 'deep/er/a.JPEG')]
    assert dataset.get_cat_ids(0) == []
    assert 'gt_label' not in dataset[0]['data_samples']


def test_a_folder_that_is_a_link(tmp_path: Path):
    write_image(tmp_path / 'elsewhere' / 'a.jpg', 0)
    (tmp_path / 'pics').mkdir()
    (tmp_path / 'pics' / 'link').symlink_to(tmp_path / 'elsewhere')
    assert build_unlabelled(tmp_path).get_data_info(0)['img_path'] == str(
        tmp_path / 'pics/link/a.jpg'
    )


def test_no_unlabelled_images(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r'pics does not exist, or has no images'):
        build_unlabelled(tmp_path)

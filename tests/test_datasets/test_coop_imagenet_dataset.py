"""ImageNet in CoOp's layout: labels by WordNet id, never by name."""

from pathlib import Path

import pytest
from mmpretrain.registry import DATASETS
from PIL import Image
from timm.data import ImageNetInfo

# made in another order than the sorted one that labels follow; the first and last share a name
FILES = {'n03': ['a.JPEG'], 'n01': ['b.JPEG', 'c.JPEG'], 'n02': ['d.JPEG']}
NAMES = ['missile', 'goldfish', 'missile']


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ('train', 'val'):
        for wnid, names in FILES.items():
            folder = tmp_path / 'images' / split / wnid
            folder.mkdir(parents=True)
            for name in names:
                Image.new('RGB', (5, 4)).save(folder / f'{split}_{name}', format='JPEG')
    return tmp_path


def build(root: Path, **settings):
    config = dict(type='CoOpImageNetDataset', data_root=str(root), class_names=NAMES)
    return DATASETS.build({**config, **settings})


@pytest.mark.parametrize('split', ['train', 'val'])
def test_labels_are_ranks_of_wordnet_ids(root: Path, split: str):
    dataset = build(root, split=split)
    dataset.full_init()
    found = {}
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        found[Path(info['img_path']).relative_to(root).as_posix()] = info['gt_label']
    expected = {
        f'images/{split}/{wnid}/{split}_{name}': sorted(FILES).index(wnid)
        for wnid, names in FILES.items()
        for name in names
    }
    assert found == expected
    assert dataset.test_mode is (split != 'train')


def test_classes_with_the_same_name_stay_two(root: Path):
    dataset = build(root)
    assert tuple(dataset.metainfo['classes']) == tuple(NAMES)
    assert list(dataset.metainfo['wnids']) == ['n01', 'n02', 'n03']
    assert set(dataset.get_gt_labels()) == {0, 1, 2}


def test_stray_files_are_no_classes(root: Path):
    (root / 'images/train/README.txt').write_text('not a class')
    assert len(build(root)) == 4


def test_few_shot_set_of_it(root: Path):
    few_shot = DATASETS.build(dict(type='FewShotDataset', dataset=build(root), num_shots=1))
    assert sorted(few_shot.get_gt_labels()) == [0, 1, 2]


def test_as_many_folders_as_names(root: Path):
    with pytest.raises(ValueError, match=r'images/train has 3 class folders; expected 1000'):
        build(root, class_names='imagenet')


def test_missing_split_folder_is_named(root: Path):
    with pytest.raises(FileNotFoundError, match=r'images/test does not exist.*<WordNet id>'):
        build(root, split='test')


def test_a_folder_that_is_no_class_of_imagenet_is_named(tmp_path: Path):
    wnids = ImageNetInfo().label_names()
    for wnid in ['n99999999', *wnids[1:]]:
        (tmp_path / 'images' / 'val' / wnid).mkdir(parents=True)
    with pytest.raises(ValueError, match=rf'n99999999 is no class of .*{wnids[0]}'):
        build(tmp_path, split='val', class_names='imagenet')

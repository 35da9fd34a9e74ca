"""Images without labels."""

from pathlib import Path

import pytest
from mini_data import write_image
from mmpretrain.registry import DATASETS


def build(root: Path, **settings):
    return DATASETS.build(
        dict(type='UnlabelledImagesDataset', data_root=str(root), data_prefix='pics', **settings)
    )


def test_all_images_at_any_depth_and_nothing_else(tmp_path: Path):
    for path in ('b.jpg', 'deep/er/a.JPEG', '.hidden/c.jpg'):
        write_image(tmp_path / 'pics' / path, 0)
    (tmp_path / 'pics' / 'list.txt').write_text('b.jpg')
    dataset = build(tmp_path, pipeline=[dict(type='LoadImageStrict'), dict(type='PackInputs')])
    found = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    assert found == [str(tmp_path / 'pics' / p) for p in ('b.jpg', 'deep/er/a.JPEG')]
    assert dataset.get_cat_ids(0) == []
    assert 'gt_label' not in dataset[0]['data_samples']


def test_a_folder_that_is_a_link(tmp_path: Path):
    write_image(tmp_path / 'elsewhere' / 'a.jpg', 0)
    (tmp_path / 'pics').mkdir()
    (tmp_path / 'pics' / 'link').symlink_to(tmp_path / 'elsewhere')
    assert build(tmp_path).get_data_info(0)['img_path'] == str(tmp_path / 'pics/link/a.jpg')


def test_nothing_there(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r'pics does not exist, or has no images'):
        build(tmp_path)

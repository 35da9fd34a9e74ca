"""Several sets in one dataloader: which image is whose, what samples say, a whole evaluation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from PIL import Image

CLASSES = ('cat', 'dog', 'hot dog')
PIPELINE = [dict(type='LoadImageStrict'), dict(type='PackInputs')]
# images in each set: ID, another style in which dogs do not occur, two sets without labels
COUNTS = {'photos': 5, 'drawings': 3, 'plants': 4, 'rooms': 2}
STARTS = {'photos': 0, 'drawings': 5, 'plants': 8, 'rooms': 12}


def write_set(root: Path, name: str, count: int) -> dict:
    """Files and config of an annotated set; label i of image i."""
    rng = np.random.default_rng(len(name))
    (root / name).mkdir(parents=True)
    for i in range(count):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name / f'{i}.png')
    rows = ''.join(f'{i}.png {i % len(CLASSES)}\n' for i in range(count))
    (root / f'{name}.txt').write_text(rows)
    return dict(
        type='CustomDataset',
        data_root=str(root),
        data_prefix=name,
        ann_file=f'{name}.txt',
        metainfo=dict(classes=CLASSES, place=name),
        pipeline=PIPELINE,
        test_mode=True,
    )


def write_sets(root: Path) -> dict[str, dict]:
    sets = {name: write_set(root, name, count) for name, count in COUNTS.items()}
    sets['drawings']['metainfo'].update(competing_labels=[2, 0])
    for name in ('plants', 'rooms'):
        del sets[name]['ann_file'], sets[name]['metainfo']
        sets[name]['with_label'] = False
    return sets


def build(sets: dict):
    return DATASETS.build(dict(type='EvaluationSets', sets=sets))


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, dict]:
    return write_sets(tmp_path)


def test_images_of_all_sets_one_after_the_other(sets):
    joined = build(sets)
    assert len(joined) == 14
    for name, count in COUNTS.items():
        single = DATASETS.build(sets[name])
        assert len(single) == count
        for number in range(count):
            index = STARTS[name] + number
            item, expected = joined[index], single[number]
            assert torch.equal(item['inputs'], expected['inputs'])
            assert item['data_samples'].img_path == expected['data_samples'].img_path
            assert item['data_samples'].set_name == name
            assert joined.get_data_info(index) == single.get_data_info(number)


def test_what_samples_say(sets):
    joined = build(sets)
    labels = [joined[i]['data_samples'].gt_label.tolist() for i in range(len(joined))]
    assert labels == [[0], [1], [2], [0], [1], [0], [1], [2], *[[]] * 6]
    assert labels == [joined.get_cat_ids(i) for i in range(len(joined))]
    competing = [joined[i]['data_samples'].get('competing_labels') for i in range(len(joined))]
    assert competing == [*[None] * 5, *[(2, 0)] * 3, *[None] * 6]
    assert {'set_name', 'competing_labels'} <= set(joined[5]['data_samples'].metainfo_keys())


def test_metainfo(sets):
    joined = build(sets)
    assert joined.metainfo == dict(classes=CLASSES, place='photos', set_names=tuple(COUNTS))
    assert joined.CLASSES == CLASSES
    # the first set need not have classes
    turned = build(dict(reversed(sets.items())))
    assert turned.metainfo['classes'] == CLASSES
    assert turned.metainfo['set_names'] == tuple(reversed(COUNTS))
    assert turned[0]['data_samples'].set_name == 'rooms'
    unlabelled = build({'plants': sets['plants']})
    assert 'classes' not in unlabelled.metainfo
    assert unlabelled.CLASSES is None


def test_built_datasets_and_few_shot_parts_are_taken(sets):
    few_shot = DATASETS.build(dict(type='FewShotDataset', dataset=sets['photos'], num_shots=1))
    joined = build({'few': few_shot, 'rooms': DATASETS.build(sets['rooms'])})
    joined.full_init()
    assert len(joined) == 3 + 2
    assert joined[2]['data_samples'].set_name == 'few'


def test_indices(sets):
    joined = build({name: dict(each, lazy_init=True) for name, each in sets.items()})
    assert joined[-1]['data_samples'].img_path.endswith('rooms/1.png')
    assert joined[np.int64(5)]['data_samples'].set_name == 'drawings'
    for index in (14, -15):
        with pytest.raises(IndexError):
            joined[index]


def test_sets_that_differ_in_their_classes(sets):
    sets['drawings']['metainfo']['classes'] = ('cat', 'dog', 'hot_dog')
    build(sets)  # the same prompts
    sets['drawings']['metainfo']['classes'] = ('cat', 'cow', 'hot dog')
    expected = r"set 'drawings' has other classes: label 1 is 'dog' for set 'photos' and 'cow' in"
    with pytest.raises(ValueError, match=expected):
        build(sets)
    sets['drawings']['metainfo']['classes'] = ('cat', 'dog', 'hot dog', 'cow')
    with pytest.raises(ValueError, match=r"label 3, 'cow', is known to set 'drawings' alone"):
        build(sets)


@pytest.mark.parametrize('name', ['', 'mean', 'a/b', 3])
def test_names_that_are_of_no_use(sets, name):
    with pytest.raises(ValueError, match=rf'a set cannot be called {name!r}'):
        build({'photos': sets['photos'], name: sets['rooms']})
    with pytest.raises(ValueError, match=r'sets is empty'):
        build({})


def test_items_that_are_not_packed(sets):
    sets['plants']['pipeline'] = PIPELINE[:1]
    with pytest.raises(ValueError, match=r"item of set 'plants' has no 'data_samples'.*PackInput"):
        build(sets)[8]


@pytest.mark.parametrize('num_workers', [0, 1])
def test_mixed_batches_pass_the_preprocessor(sets, num_workers: int):
    preprocessor = MODELS.build(dict(type='ClsDataPreprocessor', mean=[1, 2, 3], std=[1, 1, 1]))
    loader = dict(
        batch_size=3,  # batches 2, 3 and 5 hold two sets, batch 3 labelled and unlabelled images
        num_workers=num_workers,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=build(sets),
    )
    found = []
    for batch in Runner.build_dataloader(loader):
        found += preprocessor(batch)['data_samples']
    names = [sample.set_name for sample in found]
    assert names == [name for name, count in COUNTS.items() for _ in range(count)]
    assert [len(sample.gt_label) for sample in found] == [1] * 8 + [0] * 6


def test_sets_without_a_pipeline_take_the_common_one(tmp_path: Path):
    sets = write_sets(tmp_path)
    bare = {
        name: {k: v for k, v in each.items() if k != 'pipeline'} for name, each in sets.items()
    }
    own = [*PIPELINE[:1], dict(type='Resize', scale=16), PIPELINE[1]]
    bare['photos']['pipeline'] = own
    found = DATASETS.build(dict(type='EvaluationSets', sets=bare, pipeline=PIPELINE))
    expected = DATASETS.build(dict(type='EvaluationSets', sets=sets))
    assert found[0]['inputs'].shape == (3, 16, 16)
    for i in range(STARTS['drawings'], len(expected)):
        assert torch.equal(found[i]['inputs'], expected[i]['inputs'])


@pytest.mark.usefixtures('scope')
def test_every_view_of_an_image_knows_its_set(tmp_path: Path):
    flips = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
    views = dict(type='TestTimeAug', transforms=[flips, PIPELINE[1:]])
    sets = {n: {**s, 'pipeline': [PIPELINE[0], views]} for n, s in write_sets(tmp_path).items()}
    samples = DATASETS.build(dict(type='EvaluationSets', sets=sets))[STARTS['plants']]
    assert [sample.set_name for sample in samples['data_samples']] == ['plants', 'plants']
    assert all(len(sample.gt_label) == 0 for sample in samples['data_samples'])

"""Base-to-new and transfer: who is trained, who is tested, and what serves the others."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mini_campaign import write_campaign
from mmpretrain.registry import DATASETS, MODELS
from mmpretrain.structures import DataSample
from small_clip import write_clip

from sotglp_mm import apis
from sotglp_mm.campaign import run_campaign, summarize
from sotglp_mm.datasets.few_shot_dataset import labels_of
from sotglp_mm.structures import ImageFeatures

DIGITS = dict(type='DemoDigitsDataset', pipeline=[dict(type='PackInputs')])
NAMES = ['cat', 'dog', 'cow', 'ram', 'fox']
BASE, NEW = NAMES[:3], NAMES[3:]


@pytest.mark.parametrize(
    ('num_classes', 'base', 'new'),
    [(2, [0], [1]), (4, [0, 1], [2, 3]), (5, [0, 1, 2], [3, 4]), (37, range(19), range(19, 37))],
)
def test_halves_are_those_of_coop(num_classes, base, new):
    assert list(labels_of('base', num_classes)) == list(base)
    assert list(labels_of('new', num_classes)) == list(new)


def few_shot(**settings):
    return DATASETS.build(dict(type='FewShotDataset', dataset=DIGITS, num_shots=3, **settings))


@pytest.mark.parametrize('sampling', ['per_class', 'stratified'])
def test_base_classes_alone_are_drawn(sampling):
    base = few_shot(classes='base', sampling=sampling)
    assert base.CLASSES == base.metainfo['classes'] == tuple('01234')
    assert np.bincount(base.get_gt_labels()).tolist() == 5 * [3]
    assert int(base[14]['data_samples'].gt_label) == 4
    if sampling == 'per_class':  # the same images as with all classes around
        assert base.indices.tolist() == few_shot().indices[:15].tolist()


def test_a_record_of_base_classes_is_read_as_such(tmp_path):
    base, file = few_shot(classes='base', seed=5), tmp_path / 'few_shot_files.json'
    file.write_text(json.dumps(base.few_shot_record()))
    again = few_shot(classes='base', files=str(file))
    assert again.indices.tolist() == base.indices.tolist()
    with pytest.raises(ValueError, match='the file has 5 classes and the dataset 10'):
        few_shot(files=str(file))
    with pytest.raises(ValueError, match="classes='new' is not known"):
        few_shot(classes='new')


def evaluation_sets(**classes):
    digits = {**DIGITS, 'split': 'val'}
    return DATASETS.build(
        dict(type='EvaluationSets', sets=dict.fromkeys(['base', 'new'], digits), classes=classes)
    )


def test_each_half_is_tested_alone():
    both = evaluation_sets(base='base', new='new')
    assert len(both) == 200 and both.metainfo['classes'] == tuple('0123456789')
    assert [both.get_cat_ids(i)[0] for i in (0, 99, 100, 199)] == [0, 4, 5, 9]
    for index, name, competing in ((99, 'base', (0, 1, 2, 3, 4)), (100, 'new', (5, 6, 7, 8, 9))):
        sample = both[index]['data_samples']
        assert (sample.set_name, sample.competing_labels) == (name, competing)
    one = evaluation_sets(new='new')
    assert len(one) == 300 and 'competing_labels' not in one[0]['data_samples']
    with pytest.raises(ValueError, match="classes has 'old', which is no set"):
        evaluation_sets(old='base')
    with pytest.raises(ValueError, match="classes='old' is not known"):
        evaluation_sets(new='old')


@pytest.fixture
def build(tmp_path):
    clip = write_clip(tmp_path)

    def head(names, **settings):
        settings = dict(num_local_prompts=2, num_global_prompts=2) | settings
        selector = dict(type='SparsePatchSelector', k=4)
        config = dict(type='SOTGLPHead', clip=clip, class_names=names, selector=selector)
        return MODELS.build({**config, **settings}).eval()

    return head


def features() -> ImageFeatures:
    generator = torch.Generator().manual_seed(2)
    shapes = (6, 9, 10), (6, 10)
    return ImageFeatures(
        *(F.normalize(torch.randn(s, generator=generator), dim=-1) for s in shapes)
    )


@pytest.mark.parametrize('settings', [dict(num_local_prompts=0), dict(local_shared=True), {}])
def test_a_half_alone_is_what_a_head_of_this_half_says(build, settings):
    """CoOp has a classifier of the new classes' names; here the others do not compete."""
    trained = build(BASE, **settings)
    for prompts in trained.parameters():
        prompts.data.normal_(std=0.1)
    state = trained.state_dict()
    whole = build(NAMES, load_shared='text', **settings)
    whole.load_state_dict(dict(state))
    half = build(NEW, load_shared='text', **settings)
    half.load_state_dict(dict(state))
    competing = dict(metainfo=dict(competing_labels=(3, 4)))
    found = whole.predict(features(), [DataSample(**competing) for _ in range(6)])
    expected = half.predict(features())
    for ours, theirs in zip(found, expected):
        assert not ours.pred_score[:3].any()
        torch.testing.assert_close(ours.pred_score[3:], theirs.pred_score)
    base = [DataSample(metainfo=dict(competing_labels=(0, 1, 2))) for _ in range(6)]
    for ours, theirs in zip(whole.predict(features(), base), trained.predict(features())):
        torch.testing.assert_close(ours.pred_score[:3], theirs.pred_score)


def test_classes_without_prompts_have_the_text_of_clip(build):
    trained = build(['dog', 'ram', 'hen'])
    with pytest.raises(ValueError, match="load_shared='texts'; expected False, True or 'text'"):
        build(NAMES, load_shared='texts')
    head = build(NAMES, load_shared='text')
    head.load_state_dict(trained.state_dict())
    assert torch.equal(head.local_prompts[[1, 3]], trained.local_prompts[:2])
    words = head.towers.text.embed_words('a photo of a')
    for label in (0, 2, 4):
        assert torch.equal(head.local_prompts[label], torch.stack([words, words]))
    # all of it: zero-shot CLIP on the best patches, with an even plan
    text = head.text_encoder(words[None])[0, 0]
    expected = (features().patches @ F.normalize(text, dim=0)).topk(4).values.mean(1) / 2
    _, local = head.scores(features())
    torch.testing.assert_close(local[:, 0], expected, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope='module')
def minis(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('new_classes')
    write_campaign(folder, tiny.clip, datasets=2)
    return folder


def campaign(minis: Path, work_dir: Path, **settings) -> dict:
    options = ['model.head.num_local_prompts=2']
    configs = dict(configs=f'{minis}/mini_{{dataset}}.py', cfg_options=options, work_dir=work_dir)
    assert not run_campaign(['alpha'], [4], [1], in_process=True, **configs, **settings)
    return json.loads((work_dir / 'alpha/4shot/seed1/result.json').read_text())


@pytest.mark.parametrize('stored', [False, True])
def test_a_campaign_of_base_to_new(minis, tmp_path, monkeypatch, stored):
    monkeypatch.setenv('DATA', str(minis))
    more = dict(features=tmp_path / 'features') if stored else {}
    result = campaign(minis, tmp_path / 'runs', base_to_new=True, **more)
    metrics = result['metrics']
    # the one new class of three has nothing to compete with
    assert metrics['accuracy/new/top1'] == 100
    folder = tmp_path / 'runs/alpha/4shot/seed1'
    record = json.loads((folder / 'few_shot_files.json').read_text()) if not stored else {}
    assert stored or {label for _, label in record['images']} == {0, 1}
    learned = torch.load(folder / 'epoch_2.pth', weights_only=True)['state_dict']
    assert learned['head.local_prompts'].shape[0] == 2
    # the base half, by a classifier of its names on its images
    names = dict.fromkeys(['banded', 'blotchy'])
    cfg = apis.load_config(minis / 'mini_alpha.py', {'model.head.num_local_prompts': 2})
    cfg.model.head.class_names = list(names)
    model = MODELS.build(cfg.model)
    model.load_state_dict(learned)
    images = DATASETS.build(cfg.test_dataloader.dataset)
    items = [images[i] for i in range(len(images)) if images.get_cat_ids(i)[0] < 2]
    inputs = model.data_preprocessor(dict(inputs=torch.stack([i['inputs'] for i in items])))
    with torch.no_grad():
        scores = model.eval().head(model.extract_feat(inputs['inputs']))
    labels = torch.cat([item['data_samples'].gt_label for item in items])
    right = (scores.argmax(1) == labels).float().mean() * 100
    assert metrics['accuracy/base/top1'] == pytest.approx(float(right))


def test_stored_features_of_all_classes_are_refused(minis, mini_cache, tmp_path, monkeypatch):
    monkeypatch.setenv('DATA', str(mini_cache.folder))
    configs = dict(configs=f'{mini_cache.cache}/config.py', work_dir=tmp_path)
    with pytest.raises(ValueError, match='has stored features of all classes'):
        run_campaign(['mini'], [4], [1], base_to_new=True, **configs)


def test_a_campaign_with_transfer(minis, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('DATA', str(minis))
    result = campaign(minis, tmp_path, transfer=['beta'])
    metrics = result['metrics']
    # beta is the same images and classes: what was learned for a class goes with its name
    for branch in ('accuracy', 'accuracy_global', 'accuracy_local'):
        assert metrics[f'{branch}/beta/top1'] == metrics[f'{branch}/top1']
    summarize(tmp_path)
    value = f'{metrics["accuracy/top1"]:.1f} (n=1)'
    row = f'| this package, alpha, 4 shots | {value} | {value} | {value} |'
    text = (tmp_path / 'summary.md').read_text()
    assert '| run | trained on | beta | mean of the others |' in text and row in text
    with pytest.raises(ValueError, match='was made with other settings'):
        campaign(minis, tmp_path)

"""Baselines of image embeddings: values by hand, scikit-learn, and whole runs of a miniature."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from mmpretrain.registry import DATASETS, MODELS
from numpy.testing import assert_allclose
from sklearn.covariance import shrunk_covariance
from sklearn.linear_model import LogisticRegression

import sotglp_cli
from sotglp_mm import apis
from sotglp_mm.features import baselines
from sotglp_mm.features.baselines import BASELINES, Labelled, measure_baseline

VIEWS, TRAIN, VAL, TEST, CLASSES = 3, 12, 3, 9, 3


def test_discriminant_by_hand():
    features = np.array([[1.0, 0], [3, 0], [0, 1], [0, 3]])
    weight, bias = baselines.discriminant(Labelled(features, np.array([0, 0, 1, 1])), 2)
    # (n - 1) S = 2 I, trace(S) = 4/3, so the inverse is 2 / (2 + 4/3) I = 0.6 I
    assert_allclose(weight, [[1.2, 0], [0, 1.2]])
    assert_allclose(bias, [-1.2, -1.2])


def test_discriminant_is_that_of_the_shrunk_covariance():
    rng = np.random.default_rng(3)
    count, width, classes = 20, 6, 4
    labels = np.arange(count) % classes
    features = rng.normal(size=(count, width))
    weight, bias = baselines.discriminant(Labelled(features, labels), classes)
    means = np.stack([features[labels == label].mean(0) for label in range(classes)])
    covariance = np.cov((features - means[labels]).T)
    shrunk = shrunk_covariance(covariance, width / (count - 1 + width))
    inverse = np.linalg.inv(shrunk * (count - 1 + width) / width)
    assert_allclose(weight, means @ inverse)
    assert_allclose(bias, [-mean @ inverse @ mean / 2 for mean in means])


@pytest.fixture
def image() -> Labelled:
    """One image of class 1, which the texts of ``TEXT`` call class 0, by 1.4."""
    return Labelled(np.array([[0.6, 0.8]]), np.array([1]))


TEXT = np.array([[1.0, 1.0], [0.0, 0.0]])
KEYS = Labelled(np.eye(2), np.arange(2))


def test_tip_adapter_by_hand(image, monkeypatch):
    monkeypatch.setattr(baselines, 'ALPHAS', [9.0, 10.0, 20.0])
    monkeypatch.setattr(baselines, 'BETAS', [0.1, 1.0, 2.0])
    fitted = baselines.tip_adapter(KEYS, image, TEXT)
    # exp(-0.2) - exp(-0.4) = 0.1484: ten times that is the first sum above 1.4
    assert fitted.chosen == dict(alpha=10.0, beta=1.0)
    others = np.array([[0.6, 0.8], [1.0, 0.0], [0.7, 0.7]])
    assert fitted.predict(others).tolist() == [1, 0, 0]


def test_weight_of_the_discriminant_by_hand(image):
    train = Labelled(np.array([[1.0, 0], [3, 0], [0, 1], [0, 3]]), np.array([0, 0, 1, 1]))
    fitted = baselines.gaussian_discriminant(train, image, TEXT)
    # the discriminant says class 1 by 1.2 (0.8 - 0.6) = 0.24, which has to outweigh 1.4
    assert fitted.chosen == dict(alpha=10.0)
    assert fitted.predict(image.features).tolist() == [1]
    # with alpha = 10: 2 + 12 against 0, and 1 against 12
    assert fitted.predict(np.array([[2.0, 0], [0, 1.0]])).tolist() == [0, 1]


def test_linear_probe_takes_the_strength_that_is_best_on_validation_images():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = rng.normal(size=(60, 4)) * [1, 5, 0.2, 1] + 2 * np.eye(4)[labels]
    train, val = (Labelled(features[part], labels[part]) for part in (slice(30), slice(30, 60)))
    fitted = baselines.linear_probe(train, val)
    mean, deviation = train.features.mean(0), train.features.std(0)
    scores, found = [], []
    for strength in baselines.STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=2000)
        model.fit((train.features - mean) / deviation, train.labels)
        found.append(model.predict((val.features - mean) / deviation))
        scores.append((found[-1] == val.labels).mean())
    best = int(np.argmax(scores))
    assert best > 0 and len(set(scores)) > 1, 'nothing to choose'
    assert fitted.chosen == dict(C=baselines.STRENGTHS[best])
    assert fitted.predict(val.features).tolist() == found[best].tolist()


@pytest.fixture
def mini(mini_cache, monkeypatch):
    """``$DATA`` at the miniature; its config of images, and of stored features."""
    monkeypatch.setenv('DATA', str(mini_cache.folder))
    return {
        'images': apis.load_config(mini_cache.config),
        'stored': apis.load_config(mini_cache.cache / 'config.py'),
    }


@pytest.fixture
def fitted_to(monkeypatch) -> dict:
    """What each baseline was given."""
    given = {}

    def spied(name: str, original):
        return lambda *args: given.update({name: args}) or original(*args)

    for name in BASELINES:
        monkeypatch.setattr(baselines, name, spied(name, getattr(baselines, name)))
    return given


@pytest.mark.parametrize('source', ['images', 'stored'])
def test_whole_runs(mini, mini_cache, source, fitted_to):
    for method in BASELINES:
        metrics = measure_baseline(mini[source], method)
        assert metrics['accuracy/top1'] == metrics['accuracy/mean_class']  # as many of each class
        hits = metrics['accuracy/top1'] * TEST / 100
        assert hits == pytest.approx(round(hits)) and hits >= TEST / CLASSES
    views = VIEWS if source == 'stored' else 1
    counts = {name: (len(args[0].labels), len(args[1].labels)) for name, args in fitted_to.items()}
    assert counts == dict(
        tip_adapter=(TRAIN, VAL),
        gaussian_discriminant=(TRAIN * views, VAL),
        linear_probe=(TRAIN * views, VAL),
    )
    keys, _, text = fitted_to['tip_adapter']
    if source == 'stored':  # as they are, before the projection
        stored = np.load(mini_cache.cache / 'train' / 'image.npy').astype(np.float32)
        found = fitted_to['linear_probe'][0].features
        assert np.array_equal(found, stored.reshape(VIEWS * TRAIN, -1))
        mean = torch.from_numpy(stored.mean(0))  # of the views, before the projection
        with torch.no_grad():
            projected = MODELS.build(mini['images'].model).towers.image.project(mean)
        expected = torch.nn.functional.normalize(projected, dim=-1)
        assert_allclose(keys.features, expected.numpy(), rtol=1e-4, atol=1e-5)
    of_views = fitted_to['gaussian_discriminant'][0]
    assert_allclose(np.linalg.norm(keys.features, axis=1), 1, rtol=1e-5)
    assert of_views.labels.tolist() == views * keys.labels.tolist()
    if source == 'images':
        expected_logits, labels = zero_shot(mini['images'])
        assert keys.labels.tolist() == labels
        assert_allclose(keys.features @ text.T, expected_logits, rtol=1e-4, atol=1e-4)


def zero_shot(cfg) -> tuple[np.ndarray, list[int]]:
    """Logits of the package's classifier for the shots, as they are tested, and labels."""
    model = deepcopy(cfg.model)
    model.neck.learn = False
    model.head.update(num_global_prompts=1, num_local_prompts=0)
    shots = deepcopy(cfg.train_dataloader.dataset)
    shots.dataset.pipeline = cfg.test_dataloader.dataset.pipeline
    shots, model = DATASETS.build(shots), MODELS.build(model).eval()
    batch = [shots[i] for i in range(len(shots))]
    inputs = torch.stack([item['inputs'] for item in batch])
    with torch.no_grad():
        images = model.data_preprocessor(dict(inputs=inputs))['inputs']
        logits = model.head(model.extract_feat(images))
    return logits.numpy(), [int(item['data_samples'].gt_label) for item in batch]


def test_what_cannot_be_used_is_refused(mini):
    with pytest.raises(ValueError, match='2 images of 2 classes have none'):  # no spread
        baselines.discriminant(Labelled(np.eye(2), np.arange(2)), 2)
    for cfg in mini.values():  # test images choose nothing
        test = mini['images'].test_dataloader.dataset
        with pytest.raises(ValueError, match=f'{TEST} of {TEST} validation images are test'):
            measure_baseline(cfg, 'tip_adapter', test)
    with pytest.raises(ValueError, match=f'{TRAIN} of {TRAIN} validation images are trained on'):
        measure_baseline(mini['images'], 'tip_adapter', mini['images'].train_dataloader.dataset)
    with pytest.raises(ValueError, match="baseline 'tip' is not known"):
        measure_baseline(mini['images'], 'tip')
    mini['images'].model.head.class_names = ['banded', 'braided', 'blotchy']
    with pytest.raises(ValueError, match='differ in their classes: label 1'):
        measure_baseline(mini['images'], 'tip_adapter')
    mini['stored'].test_dataloader.dataset.source = None
    with pytest.raises(ValueError, match='not among the stored features'):
        measure_baseline(mini['stored'], 'tip_adapter')


@pytest.mark.parametrize('source', ['images', 'stored'])
def test_nothing_is_chosen_on_images_that_are_trained_on(mini, source, fitted_to):
    """As with aircraft's recipe, whose shots are of 'trainval'."""
    train = mini['images'].train_dataloader.dataset
    pipeline = mini['images'].test_dataloader.dataset.pipeline
    every = dict(train, dataset=dict(train.dataset, pipeline=pipeline), num_shots=1000)
    count = len(DATASETS.build(deepcopy(every)))
    assert count > TRAIN
    measure_baseline(mini[source], 'tip_adapter', every)
    assert len(fitted_to['tip_adapter'][1].labels) == count - TRAIN


def test_a_damaged_embedding_is_found(mini_cache, tmp_path):
    copy = mini_cache.copy(tmp_path)
    dataset = DATASETS.build(dict(type='CachedFeatureDataset', cache=str(copy), split='train'))
    before = dataset.image_embeddings()
    assert before.shape[:2] == (VIEWS, TRAIN)
    file = np.load(copy / 'train' / 'image.npy', mmap_mode='r+')
    file[2, 5, 0] += 1
    file.flush()
    with pytest.raises(ValueError, match=r'image\.npy is not .* for image 5, view 2'):
        dataset.image_embeddings()


def test_a_campaign_of_a_baseline(mini_cache, mini, tmp_path, capsys):
    def campaign(method: str, folder: str) -> int:
        command = ['campaign', '--datasets', 'mini', '--shots', '1', '4', '--seeds', '1']
        command += ['--configs', f'{mini_cache.folder}/{{dataset}}.py', '--method', method]
        return sotglp_cli.main([*command, '--work-dir', str(tmp_path / folder)])

    assert [campaign(method, method) for method in BASELINES] == [0, 1, 0]
    # of the discriminant: one image of a class, without views
    assert 'have none. Take more shots' in capsys.readouterr().out
    file = tmp_path / 'tip_adapter' / 'mini' / '4shot' / 'seed1' / 'result.json'
    result = json.loads(file.read_text())
    assert result['method'] == 'tip_adapter' and result['epochs'] == 0
    assert result['metrics'] == measure_baseline(mini['images'], 'tip_adapter')
    assert campaign('linear_probe', 'tip_adapter') == 2, 'a table does not mix methods'
    assert sotglp_cli.main(['summary', str(tmp_path / 'tip_adapter')]) == 0
    assert '| mini |' in (tmp_path / 'tip_adapter' / 'summary.md').read_text()

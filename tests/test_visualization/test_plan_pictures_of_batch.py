"""What pictures show is what the model saw and what it predicts with."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mini_pictures import demo_batch, demo_config, demo_model
from mmpretrain.registry import DATASETS, MODELS
from mmpretrain.structures import DataSample

from sotglp_mm.visualization import classifier_problem, draw_plan, pictures_of_batch
from sotglp_mm.visualization.plan_picture import seen_images


@pytest.fixture(scope='module')
def model():
    return demo_model()


@pytest.fixture(scope='module')
def batch() -> dict:
    return demo_batch(0, 50, 100)


@pytest.fixture(scope='module')
def predictions(model, batch: dict) -> list[DataSample]:
    with torch.no_grad():
        return model.test_step(batch)


def test_the_image_is_what_the_dataset_drew(model, batch, predictions):
    pictures = pictures_of_batch(model, batch['inputs'], predictions)
    dataset = DATASETS.build(dict(demo_config().test_dataloader.dataset, pipeline=[]))
    for index, picture in zip((0, 50, 100), pictures):
        assert picture.image.dtype == np.uint8
        np.testing.assert_array_equal(picture.image, dataset[index]['img'][..., ::-1])
        assert picture.grid == (8, 8)
        assert len(picture.parts) == len(dataset[index]['parts'])
    sample = predictions[0].clone()  # parts that a transform moved are left out
    sample.set_field((32, 32), 'ori_shape', field_type='metainfo')
    (picture,) = pictures_of_batch(model, batch['inputs'][:1], [sample])
    assert picture.parts == ()


def test_plans_and_scores_are_the_model_s(model, batch, predictions):
    pictures = pictures_of_batch(model, batch['inputs'], predictions, 'predicted')
    with torch.no_grad():
        feats = model.extract_feat(model.data_preprocessor(batch)['inputs'])
        labels = torch.cat([sample.pred_label for sample in predictions])
        expected = model.head.allocation(feats, labels)
    for row, (picture, sample) in enumerate(zip(pictures, predictions)):
        (plan,) = picture.plans
        assert plan.label == picture.predicted == int(sample.pred_label)
        np.testing.assert_array_equal(plan.support, expected.support[row])
        np.testing.assert_allclose(plan.plan, expected.plan[row], rtol=1e-4)
        np.testing.assert_array_equal(picture.scores['local'], sample.pred_score_local)
        np.testing.assert_array_equal(picture.scores['combined'], sample.pred_score)


@pytest.mark.parametrize(
    ('selector', 'loss'),
    [
        (
            dict(type='PromptPatchSelector', k=[2, 3, 4, 5]),
            dict(type='UniformAllocationLoss', k=[2, 3, 4, 5]),
        ),
        (dict(type='SparsePatchSelector', k=30), dict(type='CappedAllocationLoss', capacity=8)),
        (dict(type='SparsePatchSelector'), dict(type='UniformAllocationLoss')),
    ],
)
def test_every_kind_of_allocation_is_drawn(batch, selector: dict, loss: dict):
    settings = demo_config().model
    settings.head.selector, settings.head.local_loss = selector, loss
    other = MODELS.build(settings).eval()
    with torch.no_grad():
        predictions = other.test_step(batch)
    for picture in pictures_of_batch(other, batch['inputs'], predictions):
        for plan in picture.plans:
            assert plan.plan.sum() == pytest.approx(1, abs=1e-3)
            assert len(set(plan.support.tolist())) == len(plan.support) == len(plan.plan)
    assert draw_plan(picture).std() > 10


def test_whose_plans(model, batch):
    samples = [DataSample().set_gt_label(true) for true in (3, 5, 5)]
    for sample, predicted in zip(samples, (3, 7, 7)):
        sample.set_pred_label(predicted).set_pred_score(torch.eye(24)[predicted])
    samples[2].set_gt_label(torch.zeros(0, dtype=torch.long))  # out of distribution
    found = {}
    for classes in ('both', 'predicted', 'true', [1, 2]):
        pictures = pictures_of_batch(model, batch['inputs'], samples, classes)
        found[str(classes)] = [[plan.label for plan in p.plans] for p in pictures]
    assert found == {
        'both': [[3], [7, 5], [7]],
        'predicted': [[3], [7], [7]],
        'true': [[3], [5], [7]],
        '[1, 2]': [[1, 2]] * 3,
    }
    assert [picture.true_label for picture in pictures] == [3, 5, None]
    with pytest.raises(ValueError, match="classes='all' is not known"):
        pictures_of_batch(model, batch['inputs'], samples, 'all')


@pytest.mark.parametrize(
    'settings',
    [
        dict(mean=[120.0, 110, 100], std=[60.0, 50, 40], to_rgb=True),
        dict(mean=[120.0, 110, 100], std=[60.0, 50, 40], to_rgb=False),
        dict(to_rgb=True),
    ],
)
def test_any_preprocessor_is_undone(settings: dict):
    preprocessor = MODELS.build(dict(type='ClsDataPreprocessor', **settings))
    bgr = torch.randint(0, 256, (2, 3, 8, 6), dtype=torch.uint8)
    pixels = preprocessor(dict(inputs=bgr))['inputs']
    rgb = bgr.flip(1).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(seen_images(preprocessor, pixels), rgb)


def test_what_cannot_be_drawn(model, batch):
    assert classifier_problem(model, batch['inputs']) is None
    cached = [SimpleNamespace()]
    assert 'cached features' in classifier_problem(model, cached)
    linear = SimpleNamespace(extract_feat=None, head=torch.nn.Linear(2, 2))
    assert 'Linear has no transport plan' in classifier_problem(linear, batch['inputs'])
    no_prompts = SimpleNamespace(allocation=None, local_prompts=None)
    no_plan = SimpleNamespace(extract_feat=None, head=no_prompts)
    assert 'num_local_prompts=0' in classifier_problem(no_plan, batch['inputs'])

"""CalibrationError: by hand, against a loop over bins, over batches."""

import itertools

import numpy as np
import pytest
import torch
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample

from sotglp_mm.functional import reliability, tempered


def samples(probabilities: torch.Tensor, labels: list) -> list[dict]:
    return [
        DataSample().set_gt_label(label).set_pred_score(each).to_dict()
        for each, label in zip(probabilities, labels)
    ]


def evaluate(found: list[dict], **settings) -> dict:
    metric = METRICS.build(dict(type='CalibrationError', **settings))
    for sample in found:
        metric.process({}, [sample])
    return metric.evaluate(len(found))


def test_by_hand():
    # two bins: (0.6 right, 0.8 wrong, 0.9 right) -> |2/3 - 2.3/3|; 0.5 wrong belongs to the first
    probabilities = torch.tensor([[0.6, 0.4], [0.8, 0.2], [0.1, 0.9], [0.5, 0.5]])
    found = evaluate(samples(probabilities, [0, 1, 1, 1]), bins=2)
    assert found == {'calibration/ece2': pytest.approx(100 * (3 * 0.1 + 1 * 0.5) / 4, rel=1e-5)}


def test_a_loop_over_bins_and_the_temperature_of_a_checkpoint():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(200, 4, generator=generator).mul(3).softmax(1)
    labels = torch.randint(4, (200,), generator=generator)
    found = evaluate(samples(probabilities, labels.tolist()), temperature=2.5)
    for name, each in {
        'ece15': probabilities,
        'ece15_calibrated': tempered(probabilities, 2.5),
    }.items():
        confidence, right = each.amax(1).numpy(), (each.argmax(1) == labels).numpy()
        expected, edges = 0.0, np.linspace(0, 1, 16)
        for low, high in itertools.pairwise(edges):
            inside = (confidence > low) & (confidence <= high)
            if inside.any():
                expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
        assert found[f'calibration/{name}'] == pytest.approx(100 * expected, rel=1e-4)


def test_images_without_a_label_do_not_count():
    probabilities = torch.tensor([[0.6, 0.4], [0.8, 0.2]])
    found = evaluate(samples(probabilities, [0, []]))
    assert found == {'calibration/ece15': pytest.approx(40, rel=1e-5)}
    assert evaluate(samples(probabilities, [[], []])) == {}


def test_bins_without_images_have_no_accuracy():
    found = reliability(torch.tensor([0.0, 1.0]), torch.tensor([False, True]), bins=3)
    assert found.images.tolist() == [1, 0, 1]
    assert found.accuracy[1].isnan()
    assert found.error == 0

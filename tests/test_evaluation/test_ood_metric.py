"""OOD metrics: against counting pairs and thresholds by hand; what is said and refused."""

import math

import numpy as np
import pytest
import torch
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample

from sotglp_mm.evaluation.ood_metric import detection_metrics


def auroc(known, unknown) -> float:
    wins = [(a < b) + 0.5 * (a == b) for a in known for b in unknown]
    return 100 * sum(wins) / len(wins)


def fpr95(known, unknown) -> float:
    for threshold in sorted({*known, *unknown}):
        if sum(a <= threshold for a in known) >= 0.95 * len(known):
            return 100 * sum(b <= threshold for b in unknown) / len(unknown)
    raise AssertionError


def fpr95_nearest(known, unknown) -> float:
    """Of thresholds as near, the loosest; those looser than the first to accept all are none."""
    found = []
    for threshold in sorted({*known, *unknown}):
        recall = sum(a <= threshold for a in known) / len(known)
        found.append((abs(recall - 0.95), sum(b <= threshold for b in unknown) / len(unknown)))
        if recall == 1:
            break
    nearest = min(distance for distance, _ in found)
    return 100 * [fpr for distance, fpr in found if distance == nearest][-1]


def aupr(known, unknown) -> float:
    total, recall_before = 0.0, 0.0
    for threshold in sorted({*known, *unknown}):
        hits, false = sum(a <= threshold for a in known), sum(b <= threshold for b in unknown)
        recall = hits / len(known)
        total += (recall - recall_before) * hits / (hits + false)
        recall_before = recall
    return 100 * total


def close(found: dict, **expected) -> None:
    assert found == {name: pytest.approx(value, abs=1e-9) for name, value in expected.items()}


HAND_MADE = {
    'apart': ([-3, -2], [-1, 0, 1], dict(auroc=100, fpr95=0, aupr=100)),
    'the wrong way round': ([1.0], [-1.0, 0.0], dict(auroc=0, fpr95=100, aupr=100 / 3)),
    'constant': ([0.5] * 3, [0.5] * 5, dict(auroc=50, fpr95=100, aupr=37.5)),
    'one each': ([-1.0], [1.0], dict(auroc=100, fpr95=0, aupr=100)),
    'one each, tied': ([1.0], [1.0], dict(auroc=50, fpr95=100, aupr=50)),
    # the last known image ties with one of the two unknown ones: 1 + 1 + (1/2 + 1) of 2 * 3 pairs
    'a tie at the threshold': (
        [-3, -2, 0],
        [0, 4],
        dict(auroc=100 * 5.5 / 6, fpr95=50, aupr=100 * (2 / 3 + 1 / 3 * 3 / 4)),
    ),
}


@pytest.mark.parametrize(('known', 'unknown', 'expected'), HAND_MADE.values(), ids=HAND_MADE)
def test_by_hand(known, unknown, expected):
    close(detection_metrics(known, unknown), **expected)


@pytest.mark.parametrize('levels', [4, 30, None], ids=['ties', 'some ties', 'no ties'])
@pytest.mark.parametrize(('num_known', 'num_unknown'), [(57, 41), (40, 3), (1, 23)])
def test_equal_to_counting(num_known: int, num_unknown: int, levels: int | None):
    rng = np.random.default_rng(num_known)
    known, unknown = rng.normal(0, 1, num_known), rng.normal(1, 1.5, num_unknown)
    if levels:
        known, unknown = np.round(known * levels / 8), np.round(unknown * levels / 8)
    expected = {f.__name__: f(known, unknown) for f in (auroc, fpr95, aupr)}
    close(detection_metrics(known, unknown), **expected)
    expected['fpr95'] = fpr95_nearest(known, unknown)
    close(detection_metrics(known, unknown, 'nearest'), **expected)


def test_exactly_95_percent_are_enough():
    """19 of 20: the threshold is the 19th score, not the 20th; points in line are not skipped."""
    known = [*range(19), 100]
    close(detection_metrics(known, [18.5, 50]), auroc=95, fpr95=0, aupr=aupr(known, [18.5, 50]))
    # on a straight piece of the curve: ties of one known and one unknown image each
    known, unknown = list(range(20)), list(range(20))
    assert detection_metrics(known, unknown)['fpr95'] == pytest.approx(95)


SCORES = {
    'photos': dict(mcm=[-0.9, -0.7, -0.8], gl_mcm=[-1.5, -1.4, -0.2]),
    'plants': dict(mcm=[-0.5, -0.75], gl_mcm=[-0.1, -0.2]),
    'rooms': dict(mcm=[-0.1, -0.2, -0.3, -0.95], gl_mcm=[-0.3, -1.6, -1.5, 0.0]),
}


def samples(scores: dict = SCORES, tau: float = 1.0) -> list[dict]:
    made = []
    for name, by_method in scores.items():
        for values in zip(*by_method.values()):
            sample = DataSample(metainfo=dict(set_name=name, ood_tau=tau))
            for method, value in zip(by_method, values):
                sample.set_field(torch.tensor(value), f'ood_{method}')
            made.append(sample.to_dict())
    return made


def evaluate(data: list[dict], names=tuple(SCORES), **settings) -> dict:
    metric = METRICS.build(dict(type='OODMetric', **settings))
    metric.dataset_meta = None if names is None else dict(set_names=tuple(names))
    for sample in data:
        metric.process({}, [sample])
    return metric.evaluate(len(data))


def expected_of(known: str, others: list[str], method: str, tau: str, prefix: str = 'ood') -> dict:
    values = {
        name: [f(SCORES[known][method], SCORES[name][method]) for f in (auroc, fpr95, aupr)]
        for name in others
    }
    values['mean'] = np.mean(list(values.values()), axis=0)
    return {
        f'{prefix}/{method}_T{tau}/{name}/{metric}': pytest.approx(value, abs=1e-5)
        for name, row in values.items()
        for metric, value in zip(('auroc', 'fpr95', 'aupr'), row)
    }


@pytest.mark.parametrize(('tau', 'shown'), [(1.0, '1'), (0.01, '0.01'), (1000.0, '1000')])
def test_all_methods_and_sets_and_their_mean(tau: float, shown: str):
    expected = {}
    for method in ('mcm', 'gl_mcm'):
        expected |= expected_of('photos', ['plants', 'rooms'], method, shown)
    found = evaluate(samples(tau=tau))
    assert found == expected
    assert all(type(value) is float for value in found.values())


def test_sets_methods_and_prefix_may_be_chosen():
    chosen = dict(id_set='rooms', ood_sets=['photos'], methods=['gl_mcm'], prefix='mine')
    expected = expected_of('rooms', ['photos'], 'gl_mcm', '1', 'mine')
    assert evaluate(samples(), **chosen) == expected
    others = evaluate(samples(), id_set='plants', methods=['mcm'])
    assert others == expected_of('plants', ['photos', 'rooms'], 'mcm', '1')


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float):
    data = samples()
    data[1]['ood_gl_mcm'] = data[7]['ood_gl_mcm'] = torch.tensor(bad)
    with pytest.raises(ValueError, match=r"2 of 9 scores of 'gl_mcm_T1' are NaN or infinite"):
        evaluate(data)


@pytest.mark.parametrize('names', [None, (), ('photos',)])
def test_one_set_is_not_enough(names):
    with pytest.raises(ValueError, match=r"got \d sets.*type='EvaluationSets'"):
        evaluate(samples(), names)


@pytest.mark.parametrize(
    'settings',
    [
        dict(id_set='phots'),
        dict(ood_sets=['plants', 'trees']),
        dict(ood_sets=['photos']),
        dict(ood_sets=[]),
    ],
)
def test_sets_that_do_not_fit(settings: dict):
    with pytest.raises(ValueError, match=r"do not fit the sets .*'photos', 'plants', 'rooms'"):
        evaluate(samples(), **settings)


def test_a_set_without_images():
    names = ('nothing', *SCORES)
    with pytest.raises(ValueError, match=r"set 'nothing' has no images.*id_set"):
        evaluate(samples(), names)
    with pytest.raises(ValueError, match=r"set 'nothing' has no images"):
        evaluate(samples(), names, id_set='photos')
    with pytest.raises(ValueError, match=r"set 'photos' has no images"):
        evaluate([])
    found = evaluate(samples(), names, id_set='photos', ood_sets=['plants', 'rooms'])
    assert found == evaluate(samples())


def test_samples_without_scores_or_set():
    bare = DataSample(metainfo=dict(set_name='photos')).to_dict()
    with pytest.raises(ValueError, match=r'no OOD score; set model.head.ood_methods='):
        evaluate([bare])
    with pytest.raises(ValueError, match=r"no OOD score of 'l_mcm'; .*\['l_mcm'\]"):
        evaluate(samples(), methods=['l_mcm'])
    data = samples()
    del data[0]['set_name']
    with pytest.raises(ValueError, match=r"does not tell its set.*'EvaluationSets'"):
        evaluate(data)
    with pytest.raises(ValueError, match=r'differ in their OOD scores.*mcm_T1.*mcm_T2'):
        evaluate(samples()[:-1] + samples(tau=2.0)[-1:])
    for methods in ('mcm', ['mcm', 'msp']):
        with pytest.raises(ValueError, match=r"methods=.* is not a list out of \('mcm', 'l_mcm'"):
            METRICS.build(dict(type='OODMetric', methods=methods))

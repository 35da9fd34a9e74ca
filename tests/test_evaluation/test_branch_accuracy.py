"""Accuracy of one branch: by hand, over batches, and nothing where there is no branch."""

import pytest
import torch
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample

# three classes; right in the first place: global 2 of 4, local 1 of 4, both together none
LABELS = [0, 1, 2, 2]
SCORES = {
    'pred_score': [[0, 1, 2], [1, 0, 2], [1, 2, 0], [1, 2, 0]],
    'pred_score_global': [[3, 1, 2], [1, 3, 2], [1, 3, 2], [3, 2, 1]],
    'pred_score_local': [[1, 3, 2], [3, 2, 1], [1, 2, 3], [3, 2, 1]],
}
TOP1 = {'global': 50.0, 'local': 25.0}
TOP2 = {'global': 75.0, 'local': 50.0}


def samples(fields=tuple(SCORES)) -> list[dict]:
    made = []
    for index, label in enumerate(LABELS):
        sample = DataSample().set_gt_label(label)
        for field in fields:
            sample.set_field(torch.tensor(SCORES[field][index], dtype=torch.float32), field)
        made.append(sample.to_dict())
    return made


def build(branch: str, **settings):
    return METRICS.build(dict(type='BranchAccuracy', branch=branch, **settings))


@pytest.mark.parametrize('branch', ['global', 'local'])
def test_accuracy_of_the_branch_alone(branch: str):
    metric = build(branch, topk=(1, 2))
    metric.process({}, samples())
    found = metric.evaluate(len(LABELS))
    assert found == {
        f'accuracy_{branch}/top1': pytest.approx(TOP1[branch]),
        f'accuracy_{branch}/top2': pytest.approx(TOP2[branch]),
    }


@pytest.mark.parametrize('branch', ['global', 'local'])
def test_batches_add_up(branch: str):
    metric = build(branch)
    for sample in samples():
        metric.process({}, [sample])
    assert metric.evaluate(len(LABELS)) == {f'accuracy_{branch}/top1': TOP1[branch]}


def test_a_second_evaluation_starts_anew():
    metric = build('global')
    metric.process({}, samples())
    metric.evaluate(len(LABELS))
    metric.process({}, samples()[:1])
    assert metric.evaluate(1) == {'accuracy_global/top1': 100.0}


def test_nothing_is_said_where_there_is_no_such_branch():
    metric = build('local')
    metric.process({}, samples(fields=('pred_score', 'pred_score_global')))
    assert metric.evaluate(len(LABELS)) == {}


def test_prefix_may_be_chosen():
    metric = build('global', prefix='mine')
    metric.process({}, samples())
    assert metric.evaluate(len(LABELS)) == {'mine/top1': 50.0}


def test_unknown_branch():
    with pytest.raises(ValueError, match=r"branch='both' is not known.*'global', 'local'"):
        build('both')

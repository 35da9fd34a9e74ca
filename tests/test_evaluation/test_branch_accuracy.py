"""Accuracy of a branch: by hand, over batches and sets, nothing where there is no branch."""

import pytest
import torch
from mmpretrain.registry import METRICS
from mmpretrain.structures import DataSample
from sklearn.metrics import recall_score, top_k_accuracy_score

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
    for sample in samples():  # batches add up
        metric.process({}, [sample])
    found = metric.evaluate(len(LABELS))
    assert found == {
        f'accuracy_{branch}/top1': pytest.approx(TOP1[branch]),
        f'accuracy_{branch}/top2': pytest.approx(TOP2[branch]),
    }


def test_nothing_is_said_where_there_is_no_such_branch():
    metric = build('local')
    metric.process({}, samples(fields=('pred_score', 'pred_score_global')))
    assert metric.evaluate(len(LABELS)) == {}


def test_each_class_by_its_name():
    metric = build('local', items=['per_class', 'mean_class', 'top1'])
    metric.dataset_meta = dict(classes=['cat', 'dog', 'cow'])
    metric.process({}, samples())
    each = {'cat': 0, 'dog': 0, 'cow': 50}
    assert metric.evaluate(4) == {
        **{f'accuracy_local/per_class/{name}': value for name, value in each.items()},
        'accuracy_local/mean_class': pytest.approx(100 / 6),  # of classes, not of images
        'accuracy_local/top1': 25,
    }


def random_samples(num: int, num_classes: int, seed: int = 0) -> tuple[torch.Tensor, list, list]:
    """Scores, labels (the last class has no image), samples."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(num, num_classes, generator=generator)
    labels = torch.randint(num_classes - 1, (num,), generator=generator)
    made = []
    for score, label in zip(scores, labels):
        sample = DataSample().set_gt_label(label).set_pred_score(score)
        made.append(sample.to_dict())
    return scores, labels, made


def test_equal_to_scikit_learn():
    scores, labels, data = random_samples(53, 7)
    # by chance some are right; make more so, or there is little to tell apart
    labels[:20] = scores[:20, :6].argmax(1)
    for sample, label in zip(data, labels):
        sample['gt_label'] = label[None]
    metric = build('combined', items=('top1', 'top5', 'mean_class'))
    metric.process({}, data)
    found = metric.evaluate(53)
    for k in (1, 5):
        expected = top_k_accuracy_score(labels, scores, k=k, labels=range(7))
        assert found.pop(f'accuracy/top{k}') == pytest.approx(100 * expected)
    # the last class is predicted, but has no image and hence no recall
    predicted = scores.argmax(dim=1)
    assert (predicted == 6).any()
    expected = recall_score(labels, predicted, labels=range(6), average='macro')
    assert found == {'accuracy/mean_class': pytest.approx(100 * expected)}


@pytest.mark.parametrize(
    ('items', 'message'),
    [
        (['top1', 'mean'], r"items has 'mean'; choose 'top1'"),
        (['top0'], r"items has 'top0'"),
        ((), r'items has nothing'),
    ],
)
def test_unknown_settings(items, message: str):
    with pytest.raises(ValueError, match=message):
        build('global', items=items)
    with pytest.raises(ValueError, match=r"branch='both' is not known.*'global', 'local'"):
        build('both')
    with pytest.raises(ValueError, match=r"'top5' of 3 classes cannot be told"):
        build('global', items=['top5']).process({}, samples())


# of each set the labels, and how many of them the global branch gets right
SETS = {'photos': ([0, 1, 2], 2), 'unknown': ([None] * 4, 0), 'drawings': ([2, 0], 1)}


def samples_of_sets(sets: dict = SETS) -> list[dict]:
    made = []
    for name, (labels, right) in sets.items():
        for index, label in enumerate(labels):
            best = 0 if label is None else label if index < right else (label + 1) % 3
            sample = DataSample(metainfo=dict(set_name=name))
            sample.set_gt_label([] if label is None else label)
            sample.set_field(torch.eye(3)[best], 'pred_score_global')
            made.append(sample.to_dict())
    del made[-1 - len(sets['drawings'][0])]['gt_label']  # none at all is as good as an empty one
    return made


def evaluate_sets(data: list[dict], names=tuple(SETS), **settings) -> dict:
    metric = build('global', **settings)
    metric.dataset_meta = dict(set_names=names)
    metric.process({}, data)
    assert len(metric.results) == len(data)  # or a padded image could take another one's place
    return metric.evaluate(len(data))


def test_sets_with_labels_and_their_mean():
    found = evaluate_sets(samples_of_sets(), items=['top1', 'mean_class'])
    for item in ('top1', 'mean_class'):
        assert found.pop(f'accuracy_global/photos/{item}') == pytest.approx(200 / 3)
        assert found.pop(f'accuracy_global/drawings/{item}') == 50
        assert found.pop(f'accuracy_global/mean/{item}') == pytest.approx(350 / 6)
    assert not found


def test_one_set_with_labels_has_no_mean():
    data = [sample for sample in samples_of_sets() if sample['set_name'] != 'photos']
    names = ('unknown', 'drawings')
    assert evaluate_sets(data, names) == {'accuracy_global/drawings/top1': 50}
    unlabelled = [sample for sample in data if sample['set_name'] == 'unknown']
    assert evaluate_sets(unlabelled, ('unknown',)) == {}

"""Only the classes of a set compete: in all predictions, image by image."""

import pytest
import torch
from mmpretrain.structures import DataSample

from sotglp_mm.models.sample_fields import competing_classes, leave_out_others
from sotglp_mm.structures import ImageFeatures

B, C = 4, 10
LABELS = [None, (5, 0, 3), None, (6,)]
SCORES = ('pred_score', 'pred_score_global', 'pred_score_local')


def samples() -> list[DataSample | None]:
    made = [DataSample(), *(DataSample(metainfo=dict(competing_labels=x)) for x in LABELS[1:])]
    made[2] = None
    return made


def test_masks():
    found = competing_classes(samples(), C)
    expected = torch.zeros(B, C, dtype=torch.bool)
    for row, labels in enumerate(LABELS):
        expected[row, list(range(C) if labels is None else labels)] = True
    assert torch.equal(found, expected)
    left = leave_out_others(torch.ones(B, C), found)
    assert torch.equal(left, torch.where(expected, 1.0, -torch.inf))


@pytest.mark.parametrize('nothing_said', [None, [], [None, DataSample()]])
def test_nothing_is_left_out_where_nothing_is_said(nothing_said):
    assert competing_classes(nothing_said, C) is None
    logits = torch.ones(2, C)
    assert leave_out_others(logits, None) is logits


@pytest.mark.parametrize(
    ('labels', 'message'),
    [((0, 10), r'has label 10; .*0\.\.9'), ((-1,), r'has label -1'), ((), 'is empty')],
)
def test_labels_that_do_not_fit(labels, message):
    with pytest.raises(ValueError, match=message):
        competing_classes([DataSample(metainfo=dict(competing_labels=labels))], C)


def test_predictions_of_the_head(build, feats):
    head, feats = build().eval(), ImageFeatures(*(torch.cat([x, x.flip(-1)])[:B] for x in feats))
    found, free = head.predict(feats, samples()), head.predict(feats)
    for labels, sample, without in zip(LABELS, found, free):
        kept = list(range(C) if labels is None else labels)
        for field in SCORES:
            expected = torch.zeros(C)
            # leaving classes out of a softmax is dividing by what is left
            expected[kept] = without.get(field)[kept] / without.get(field)[kept].sum()
            torch.testing.assert_close(sample.get(field), expected)
            assert sample.get(field).count_nonzero() <= len(kept)
        best = max(kept, key=lambda label: float(without.pred_score[label]))
        assert sample.pred_label.tolist() == [best]

"""What samples say: OOD scores, of the full similarities; predictions of competing classes."""

import pytest
import torch
from mmpretrain.structures import DataSample

from sotglp_mm.functional import OOD_FIELDS, OOD_SCORES, gl_mcm, local_mcm, mcm
from sotglp_mm.functional import ood_scores as module
from sotglp_mm.functional.ood_scores import OODScore
from sotglp_mm.models.sample_fields import competing_classes, leave_out_others
from sotglp_mm.structures import ImageFeatures

B, P, C = 3, 12, 10
METHODS = tuple(OOD_FIELDS)


def expected_scores(head, feats: ImageFeatures, tau: float) -> dict[str, torch.Tensor]:
    """Of similarities with every prompt."""
    with torch.no_grad():
        of_global = head._encode(head.global_prompts)
        global_ = torch.einsum('bd,cgd->bcg', feats.image, of_global)
        found = dict(ood_mcm=mcm(global_, tau))
        if head.local_prompts is not None:
            local = torch.einsum('bpd,cnd->bpcn', feats.patches, head._encode(head.local_prompts))
            found['ood_l_mcm'] = local_mcm(local, tau)
            found['ood_gl_mcm'] = gl_mcm(global_, local, tau)
    return found


@pytest.mark.parametrize('tau', [1.0, 0.02])
@pytest.mark.parametrize('images_at_once', [1, 2, 100])
def test_equal_to_the_full_similarities(build, feats, monkeypatch, tau, images_at_once):
    head = build(ood_methods=METHODS, ood_tau=tau)
    # some room left over: 2 images at a time leave one for the last chunk
    numbers = images_at_once * module._COPIES * P * C + 3
    monkeypatch.setattr(module, 'MAX_NUMBERS', numbers)
    predictions = head.eval().predict(feats)
    for field, expected in expected_scores(head, feats, tau).items():
        found = [sample.get(field) for sample in predictions]
        assert all(score.shape == () for score in found)
        torch.testing.assert_close(torch.stack(found), expected, rtol=1e-5, atol=1e-7)
    assert all(sample.ood_tau == tau for sample in predictions)
    assert 'ood_tau' in predictions[0].metainfo_keys()


def test_a_score_is_one_entry_of_the_table(build, feats, monkeypatch):
    """It reaches the head's settings and its predictions; images come in chunks."""
    sizes = []

    def spread(of_image, of_patches, tau):
        sizes.append(of_patches.shape)
        return -of_image.flatten(1).std(dim=1) / tau

    monkeypatch.setitem(OOD_SCORES, 'spread', OODScore(spread, needs_local=True))
    monkeypatch.setitem(OOD_FIELDS, 'spread', 'ood_spread')
    monkeypatch.setattr(module, 'MAX_NUMBERS', 2 * module._COPIES * P * C)
    found = [sample.ood_spread for sample in build(ood_methods=['spread']).eval().predict(feats)]
    assert sizes == [(2, P, C, 1), (1, P, C, 1)]
    assert len(torch.stack(found).unique()) == B


def test_several_temperatures(build, feats):
    taus = (1.0, 1000.0)
    several = build(ood_methods=METHODS, ood_tau=taus)
    for number, tau in enumerate(taus):
        one = build(ood_methods=METHODS, ood_tau=tau)
        one.load_state_dict(several.state_dict())
        for sample, expected in zip(several.eval().predict(feats), one.eval().predict(feats)):
            assert sample.ood_tau == taus
            for field in OOD_FIELDS.values():
                torch.testing.assert_close(sample.get(field)[number], expected.get(field))


@pytest.mark.parametrize('asked', [(), ('mcm',), ('gl_mcm',), ('l_mcm', 'mcm')])
def test_only_what_is_asked_for(build, feats, asked):
    num_local_prompts = 4 if {'gl_mcm', 'l_mcm'} & {*asked} else 0
    head = build(ood_methods=asked, num_local_prompts=num_local_prompts).eval()
    (first, *_) = found = head.predict(feats)
    assert {f for f in OOD_FIELDS.values() if f in first} == {f'ood_{method}' for method in asked}
    assert ('ood_tau' in first) == bool(asked)
    for method in asked:
        expected = expected_scores(head, feats, 1.0)[f'ood_{method}']
        scores = torch.stack([sample.get(f'ood_{method}') for sample in found])
        torch.testing.assert_close(scores, expected)


def test_all_classes_count_whichever_compete(build, feats):
    head = build(ood_methods=METHODS)
    samples = [DataSample(metainfo=dict(competing_labels=(1, 4))) for _ in range(B)]
    for one, other in zip(head.eval().predict(feats, samples), head.eval().predict(feats)):
        for field in OOD_FIELDS.values():
            torch.testing.assert_close(one.get(field), other.get(field))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(ood_methods=['mcm', 'msp']), r"ood_methods=.*'msp'.* is not a list out"),
        (dict(ood_methods='mcm'), r"ood_methods='mcm' is not a list"),
        (dict(ood_methods=['l_mcm'], num_local_prompts=0), r"'l_mcm', .*num_local_prompts=0"),
        (dict(ood_methods=['mcm', 'gl_mcm'], num_local_prompts=0), r"'gl_mcm', which scores"),
        (dict(ood_tau=0), r'ood_tau must be > 0, got 0'),
        (dict(ood_tau=(1.0, -1.5)), r'ood_tau must be > 0, got \(1.0, -1.5\)'),
        (dict(ood_tau=float('nan')), r'ood_tau must be > 0, got nan'),
    ],
)
def test_refused(build, settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        build(**settings)


LABELS = [None, (5, 0, 3), None, (6,)]
SCORES = ('pred_score', 'pred_score_global', 'pred_score_local')


def competing() -> list[DataSample | None]:
    made = [DataSample(), *(DataSample(metainfo=dict(competing_labels=x)) for x in LABELS[1:])]
    made[2] = None
    return made


def test_masks():
    found = competing_classes(competing(), C)
    expected = torch.zeros(len(LABELS), C, dtype=torch.bool)
    for row, labels in enumerate(LABELS):
        expected[row, list(range(C) if labels is None else labels)] = True
    assert torch.equal(found, expected)
    left = leave_out_others(torch.ones(len(LABELS), C), found)
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
    head, feats = (
        build().eval(),
        ImageFeatures(*(torch.cat([x, x.flip(-1)])[: len(LABELS)] for x in feats)),
    )
    found, free = head.predict(feats, competing()), head.predict(feats)
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

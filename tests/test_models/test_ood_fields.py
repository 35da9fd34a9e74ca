"""OOD scores of the head: those of the full similarities, whatever the chunks; what is refused."""

import pytest
import torch
from mmpretrain.structures import DataSample

from sotglp_mm.functional import OOD_FIELDS, OOD_SCORES, gl_mcm, local_mcm, mcm
from sotglp_mm.functional import ood_scores as module
from sotglp_mm.functional.ood_scores import OODScore
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

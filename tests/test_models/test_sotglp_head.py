"""The head: how prompts start, what is drawn, what is predicted, what is refused."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import load_checkpoint
from mmpretrain.registry import HOOKS
from mmpretrain.structures import DataSample
from small_clip import config_with, write_clip

from sotglp_mm.structures import ImageFeatures

B, P, C = 3, 12, 10
G, N, M, WIDTH = 3, 4, 4, 16


def labelled(*labels: int) -> list[DataSample]:
    return [DataSample().set_gt_label(label) for label in labels]


# ------------------------------------------------------------------ initialisation


def test_global_prompts_start_from_the_words_of_the_context(build):
    head = build(num_global_prompts=2, context='a bad photo')
    words = head.towers.text.embed_words('a bad photo')
    assert words.shape == (3, WIDTH)
    torch.testing.assert_close(head.global_prompts.detach(), words.expand(2, -1, -1))


def test_random_local_prompts_are_xavier_uniform_over_the_whole_tensor(build):
    torch.manual_seed(0)
    prompts = build(num_local_prompts=5).local_prompts.detach()
    assert prompts.shape == (C, 5, M, WIDTH)
    bound = math.sqrt(6 / ((5 + C) * M * WIDTH))
    assert 0.99 * bound < prompts.abs().max() <= bound
    # of a uniform distribution
    assert prompts.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_orthogonal_local_prompts_are_orthonormal_for_each_class_and_token(build):
    prompts = build(local_init='orthogonal').local_prompts.detach()
    assert prompts.shape == (C, N, M, WIDTH)
    rows = prompts.transpose(1, 2) * 1e3  # (C, M, N, d)
    products = rows @ rows.transpose(-1, -2)
    expected = torch.eye(N).expand(C, M, N, N)
    torch.testing.assert_close(products, expected, rtol=0, atol=1e-5)
    # classes and tokens are drawn apart, not copied
    assert (rows[0, 0] - rows[1, 0]).abs().max() > 0.01
    assert (rows[0, 0] - rows[0, 1]).abs().max() > 0.01


# ------------------------------------------------------------------ prompt dropout


@pytest.mark.parametrize(
    ('num_global', 'dropout', 'kept'),
    [(3, 0.75, 1), (8, 0.75, 2), (5, 0.5, 3), (3, 0.0, 3), (3, 1.0, 1), (1, 0.75, 1)],
)
def test_number_of_kept_prompts(build, num_global: int, dropout: float, kept: int):
    head = build(num_global_prompts=num_global, prompt_dropout=dropout)
    torch.manual_seed(0)
    drawn = head._draw_global_prompts(40)
    assert drawn.shape == (40, kept)
    assert drawn.min() >= 0
    assert drawn.max() < num_global
    if kept == 3:  # with replacement, for each image
        assert set(drawn.flatten().tolist()) == set(range(num_global))
        assert any(len(set(row)) < kept for row in drawn.tolist())
        assert len({tuple(row) for row in drawn.tolist()}) > 1


def test_loss_averages_the_drawn_prompts_the_same_for_all_classes(build, feats):
    head = build()
    with torch.no_grad():  # prompts that start alike would hide which ones were drawn
        head.global_prompts.add_(torch.randn(G, M, WIDTH) * 0.5)
    kept = torch.tensor([[0, 2], [1, 1], [2, 1]])
    head._draw_global_prompts = lambda batch_size: kept
    found = head.loss(feats, labelled(4, 0, 9))['loss_global']

    text = F.normalize(head.text_encoder(head.global_prompts), dim=-1)
    logits = torch.zeros(B, C)
    for b in range(B):
        for c in range(C):
            cosines = [feats.image[b] @ text[c, g] for g in kept[b]]
            logits[b, c] = 100 * sum(cosines) / len(cosines)
    torch.testing.assert_close(found, F.cross_entropy(logits, torch.tensor([4, 0, 9])))


# ------------------------------------------------------------------ losses


def test_both_losses_teach_both_kinds_of_prompts(build, feats):
    head = build()
    losses = head.loss(feats, labelled(4, 0, 9))
    assert set(losses) == {'loss_global', 'loss_local'}
    losses['loss_global'].backward(retain_graph=True)
    assert head.global_prompts.grad.abs().max() > 0
    assert head.local_prompts.grad is None
    losses['loss_local'].backward()
    assert head.local_prompts.grad.abs().max() > 0


@pytest.mark.parametrize('part', [0.3, 1.0])
def test_gt_scores_mix_the_losses(build, feats, part: float):
    head = build(num_global_prompts=1)
    one, other = torch.tensor([4, 0, 9]), torch.tensor([1, 2, 3])
    mixed = part * F.one_hot(one, C) + (1 - part) * F.one_hot(other, C)
    found = head.loss(feats, [DataSample().set_gt_score(row) for row in mixed])
    parts = [head.loss(feats, labelled(*labels.tolist())) for labels in (one, other)]
    assert set(found) == {'loss_global', 'loss_local'}
    for name, value in found.items():
        torch.testing.assert_close(value, part * parts[0][name] + (1 - part) * parts[1][name])


def test_bfloat16_autocast_stays_finite_and_close(build, feats):
    head = build(num_global_prompts=1)
    expected = head.loss(feats, labelled(4, 0, 9))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = head.loss(feats, labelled(4, 0, 9))
        predictions = head.eval().predict(feats)
    for name, loss in found.items():
        assert loss.dtype is torch.float32
        torch.testing.assert_close(loss, expected[name], rtol=0.1, atol=0.1)
    sum(found.values()).backward()
    assert head.local_prompts.grad.isfinite().all()
    assert head.global_prompts.grad.isfinite().all()
    plain = head.predict(feats)
    for one, other in zip(predictions, plain):
        torch.testing.assert_close(one.pred_score, other.pred_score, rtol=0, atol=0.1)


# ------------------------------------------------------------------ predictions


def test_predictions_fill_the_given_samples(build, feats):
    head = build().eval()
    samples = labelled(4, 0, 9)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    predictions = head.predict(feats, samples)
    assert torch.equal(torch.get_rng_state(), state), 'predicting draws nothing'
    assert all(a is b for a, b in zip(predictions, samples))
    for sample in samples:
        for field in ('pred_score', 'pred_score_global', 'pred_score_local'):
            score = sample.get(field)
            assert score.shape == (C,)
            torch.testing.assert_close(score.sum(), torch.tensor(1.0))
        assert sample.pred_label.item() == sample.pred_score.argmax()
    expected = (100 * sum(head.scores(feats)) / 2).softmax(dim=-1)
    torch.testing.assert_close(torch.stack([sample.pred_score for sample in samples]), expected)
    torch.testing.assert_close(head(feats).softmax(dim=-1), expected)


def test_without_local_prompts_only_the_global_branch_is_left(build, feats):
    head = build(num_local_prompts=0)
    assert set(head.state_dict()) == {'global_prompts', '_extra_state'}
    assert set(head.loss(feats, labelled(4, 0, 9))) == {'loss_global'}
    sample = head.eval().predict(feats)[0]
    assert 'pred_score_local' not in sample
    torch.testing.assert_close(sample.pred_score, sample.pred_score_global)
    with pytest.raises(ValueError, match='num_local_prompts=0'):
        head.allocation(feats, torch.zeros(B, dtype=torch.long))


def test_features_without_a_neck_are_refused(build, feats):
    head = build()
    for wrong in (tuple(feats), ImageFeatures(torch.ones(B, P, 24), torch.ones(B, 24))):
        for use in (head.predict, lambda each: head.loss(each, labelled(0, 1, 2))):
            with pytest.raises(TypeError, match=r'expected ImageFeatures of patches \(B, P, 10\)'):
                use(wrong)


def test_accuracy_of_a_training_step(build, feats):
    head = build(cal_acc=True, topk=(1, C), num_global_prompts=1).train()
    predicted = [int(sample.pred_label) for sample in head.predict(feats)]
    wrong = (predicted[0] + 1) % C
    losses = head.loss(feats, labelled(wrong, *predicted[1:]))
    assert losses['accuracy_top-1'].item() == pytest.approx(100 * (B - 1) / B)
    assert losses[f'accuracy_top-{C}'].item() == 100
    mixed = [DataSample().set_gt_score(torch.full((C,), 1 / C)) for _ in range(B)]
    with pytest.raises(ValueError, match='cal_acc=True, but labels are mixed'):
        head.loss(feats, mixed)


def test_names_that_nothing_compared_are_told_of_once(build, feats, logged):
    told = logged('models.sotglp_head')
    head, checked = build(), build()
    dataset = SimpleNamespace(metainfo=dict(classes=checked.class_names))
    model = torch.nn.Module()
    model.head = checked
    runner = SimpleNamespace(model=model, test_dataloader=SimpleNamespace(dataset=dataset))
    HOOKS.build(dict(type='ClassNamesCheckHook')).before_test(runner)
    for each in (checked, head):
        each.predict(feats)  # without labels there is nothing to compare with
        assert not told
    for each in (checked, head):
        each.predict(feats, labelled(1, 2, 3))
        each.loss(feats, labelled(1, 2, 3))
    assert len(told) == 1
    assert "default_hooks = dict(class_names=dict(type='ClassNamesCheckHook'))" in told[0]


def test_predictions_follow_prompts_that_a_hook_swaps(build, feats):
    head, other = build().eval(), build().eval()
    before = head.predict(feats)[0].pred_score
    # what an EMA hook does: no version counter and no mode switch tells
    head.local_prompts.data.copy_(other.local_prompts.data)
    after = head.predict(feats)[0].pred_score
    assert (after - before).abs().max() > 1e-4
    torch.testing.assert_close(after, other.predict(feats)[0].pred_score)


# ------------------------------------------------------------------ checkpoints


def load(head, state: dict, folder: Path) -> None:
    """As MMEngine does, which takes no errors of ``load_state_dict`` unless they are raised."""
    torch.save({'state_dict': state}, folder / 'epoch_1.pth')
    load_checkpoint(head, str(folder / 'epoch_1.pth'), map_location='cpu')


@pytest.mark.parametrize('older', [False, True])
def test_a_fitting_checkpoint_is_loaded(build, tmp_path: Path, older: bool):
    loss = dict(type='SeesawLoss', num_classes=C)  # has buffers
    trained, head = build(loss=loss), build(loss=loss)
    trained.loss_module.cum_samples.fill_(7)
    state = trained.state_dict()
    if older:
        del state['_extra_state']
    load(head, state, tmp_path)
    assert torch.equal(head.local_prompts, trained.local_prompts)
    assert torch.equal(head.loss_module.cum_samples, trained.loss_module.cum_samples)
    again = build(loss=loss)
    again.load_state_dict(state)
    assert torch.equal(again.local_prompts, trained.local_prompts)


@pytest.mark.parametrize('count', [3, C])
def test_a_checkpoint_of_other_classes_is_refused(build, tmp_path: Path, count: int):
    head = build()
    names = [*head.class_names[: count - 1], 'cod']
    missing = head.class_names[count - 1]
    with pytest.raises(RuntimeError, match=rf"has {count}, and not once '{missing}', label"):
        load(head, build(class_names=names).state_dict(), tmp_path)
    # what fits may be asked for, and shared prompts serve any classes
    head, trained = build(load_shared=True), build(class_names=['cow', 'cat', 'wild dog'])
    before = head.local_prompts.detach().clone()
    trained.global_prompts.data.normal_()
    load(head, trained.state_dict(), tmp_path)
    assert torch.equal(head.global_prompts, trained.global_prompts)
    assert torch.equal(head.local_prompts[[2, 0]], trained.local_prompts[[0, 1]])
    assert torch.equal(head.local_prompts[[1, *range(3, C)]], before[[1, *range(3, C)]])
    for shared in (dict(num_local_prompts=0), dict(local_shared=True)):
        head, trained = build(**shared), build(class_names=['cow', 'hen'], **shared)
        trained.global_prompts.data.normal_()
        load(head, trained.state_dict(), tmp_path)
        assert torch.equal(head.global_prompts, trained.global_prompts)


def test_classes_in_another_order_are_matched_by_name(build, feats, tmp_path: Path):
    head = build()
    order = list(reversed(range(C)))
    trained = build(class_names=[head.class_names[i] for i in order])
    load(head, trained.state_dict(), tmp_path)
    for one, other in zip(head.eval().predict(feats), trained.eval().predict(feats)):
        torch.testing.assert_close(one.pred_score, other.pred_score[order])


def test_a_checkpoint_of_another_clip_is_refused(build, tmp_path: Path):
    other = write_clip(tmp_path / 'other', config_with(quick_gelu=True))
    message = r'on CLIP .*other/small.*QuickGELU\), but this model has CLIP .*, GELU\)'
    with pytest.raises(RuntimeError, match=message):
        load(build(), build(clip=other).state_dict(), tmp_path)


def test_names_that_are_read_in_another_way_are_refused(build, tmp_path: Path):
    names = ['sea_lion', 'cat']
    trained = build(class_names=names, keep_underscores=True)
    load(build(class_names=names, keep_underscores=True), trained.state_dict(), tmp_path)
    with pytest.raises(RuntimeError, match=r'Set model\.head\.keep_underscores=True'):
        load(build(class_names=names), trained.state_dict(), tmp_path)
    plain = build(keep_underscores=True).state_dict()  # no name has an underscore
    load(build(), plain, tmp_path)


DAMAGE = {'_extra_state': torch.arange(5, dtype=torch.uint8)}
NO_NUMBERS = {'global_prompts': torch.tensor([1.0, math.nan, math.inf])}


@pytest.mark.parametrize(
    ('ours', 'theirs', 'changes', 'message'),
    [
        ({}, dict(num_local_prompts=2), {}, r'of shape \(10, 2, 4, 16\), .* \(10, 4, 4, 16\)'),
        (dict(num_local_prompts=0), {}, {}, r"holds 'local_prompts', which this SOTGLPHead does"),
        ({}, dict(num_local_prompts=0), {}, r"no 'local_prompts', which SOTGLPHead learns"),
        ({}, {}, DAMAGE, 'holds a damaged _extra_state'),
        ({}, {}, NO_NUMBERS, 'holds global_prompts with 2 of 3'),
    ],
)
def test_what_does_not_fit_is_named(build, tmp_path, ours, theirs, changes, message):
    with pytest.raises(RuntimeError, match=message):
        load(build(**ours), {**build(**theirs).state_dict(), **changes}, tmp_path)


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ('setting', 'value'),
    [
        ('num_global_prompts', 0),
        ('num_local_prompts', -1),
        ('prompt_dropout', 1.5),
        ('local_init', 'zeros'),
    ],
)
def test_settings_out_of_range_are_named(build, setting: str, value):
    with pytest.raises(ValueError, match=rf'SOTGLPHead: {setting}.*{value}'):
        build(**{setting: value})


# ------------------------------------------------------------------ frozen prompts


@pytest.mark.parametrize('frozen', ['global_prompts', 'local_prompts'])
def test_frozen_prompts_are_encoded_once_while_the_others_learn(build, feats, frozen: str):
    head = build()
    prompts = getattr(head, frozen).requires_grad_(False)
    feats = ImageFeatures(*(part.clone().requires_grad_() for part in feats))
    with torch.inference_mode():  # what it encoded may stand beside a gradient
        head.eval().predict(feats)
    head.train()
    encode, encoded = head._encode, []
    head._encode = lambda context: encoded.append(context is prompts) or encode(context)
    for _ in range(3):
        sum(head.loss(feats, labelled(0, 1, 2)).values()).backward()
    assert encoded.count(True) <= 1 and encoded.count(False) == 3
    encoded.clear()
    prompts.data.add_(0.1)
    head.loss(feats, labelled(0, 1, 2))
    assert encoded.count(True) == 1


# ------------------------------------------------------------------ allocation of one class


def test_allocation_is_the_plan_that_the_score_is_made_of(build, feats):
    head = build(local_loss=dict(type='OTAllocationLoss', reduction='sum')).eval()
    labels = torch.tensor([4, 0, 9])
    found = head.allocation(feats, labels)
    assert found.support.shape == (B, 5)
    assert found.support.dtype == torch.int64
    assert found.plan.shape == found.similarity.shape == (B, 5, N)
    torch.testing.assert_close(found.plan.sum(dim=(1, 2)), torch.ones(B))
    _, local = head.scores(feats)
    mine = (found.plan * found.similarity).sum(dim=(1, 2))
    torch.testing.assert_close(mine, local[torch.arange(B), labels])


def test_allocation_selects_patches_of_its_image_and_class(build, feats):
    head = build().eval()
    text = F.normalize(head.text_encoder(head.local_prompts), dim=-1).detach()
    everything = head.selector(feats.patches, text)
    for labels in ([1, 1, 1], [7, 2, 3]):
        found = head.allocation(feats, torch.tensor(labels))
        for row, label in enumerate(labels):
            assert set(found.support[row].tolist()) == set(everything[row, label].tolist())
            cosines = feats.patches[row, found.support[row]] @ text[label].T
            torch.testing.assert_close(found.similarity[row], cosines)

"""Neighbouring methods are settings of our parts: each against plain loops of its definition."""

import numpy as np
import pytest
import reference
import torch
from mini_runs import REPO
from mmengine.config import Config
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from sotglp_mm.clip.load import load_clip
from sotglp_mm.structures import ImageFeatures

B, C, P, N = 2, 3, 23, 4
NAMES = ['cat', 'sea lion', 'red panda']


@pytest.fixture(params=['demo', 'vitb16'])
def folder(request) -> str:
    return request.param


def build_head(folder: str, method: str, clip: dict):
    cfg = Config.fromfile(REPO / 'configs' / folder / f'{method}.py')
    cfg.merge_from_dict({'model.clip': dict(_delete_=True, **clip)})
    torch.manual_seed(3)
    head = MODELS.build({**cfg.model.head, 'class_names': NAMES, 'clip': clip})
    if head.local_prompts is not None:
        torch.nn.init.normal_(head.local_prompts, std=0.3)  # apart, so that plans are not even
    return head.eval(), cfg.model.neck


@pytest.fixture
def feats(tiny) -> ImageFeatures:
    width = load_clip(**tiny.clip).image.joint_width
    generator = torch.Generator().manual_seed(5)
    patches = torch.randn(B, P, width, generator=generator)
    image = torch.randn(B, width, generator=generator)
    unit = torch.nn.functional.normalize
    return ImageFeatures(unit(patches, dim=-1), unit(image, dim=-1))


def similarity_of(head, feats) -> np.ndarray:
    """(B, P, C, N) in plain numbers."""
    text = head._encode(head.local_prompts).detach().numpy()
    patches = feats.patches.numpy()
    return np.array(
        [
            [[[patches[b, p] @ text[c, n] for n in range(N)] for c in range(C)] for p in range(P)]
            for b in range(B)
        ]
    )


def local_scores(head, feats) -> np.ndarray:
    return head.scores(feats)[1].numpy()


def test_zero_shot_is_clip_with_its_template(folder: str, tiny, feats):
    head, neck = build_head(folder, 'zero_shot', tiny.clip)
    assert not neck.learn
    tokens = head.towers.text.tokenizer([f'a photo of a {name}' for name in NAMES])
    with torch.no_grad():
        text = head.towers.clip.encode_text(tokens, normalize=True)
    scores, local = head.scores(feats)
    assert local is None
    torch.testing.assert_close(scores, feats.image @ text.T, rtol=1e-5, atol=1e-6)


def test_coop_learns_one_shared_prompt(folder: str, tiny, feats):
    head, neck = build_head(folder, 'coop', tiny.clip)
    assert not neck.learn
    learned = {name: tuple(p.shape) for name, p in head.named_parameters() if p.requires_grad}
    assert learned == {'global_prompts': (1, 4, head.towers.text.width)}


def coop_text(head) -> np.ndarray:
    """(C, D): CLIP's own text tower on the template, its context replaced by what was learned."""
    clip = head.towers.clip

    def with_context(module, tokens, embedded):
        return torch.cat(
            [embedded[:, :1], head.global_prompts.expand(C, -1, -1), embedded[:, 5:]], 1
        )

    hook = clip.token_embedding.register_forward_hook(with_context)
    with torch.no_grad():
        tokens = head.towers.text.tokenizer([f'a photo of a {name}' for name in NAMES])
        text = clip.encode_text(tokens, normalize=True)
    hook.remove()
    return text.numpy()


def test_coop_scores_and_learns_from_its_prompt_alone(folder: str, tiny, feats):
    head, _ = build_head(folder, 'coop', tiny.clip)
    torch.nn.init.normal_(head.global_prompts, std=0.3)  # away from the template
    text, image = coop_text(head), feats.image.numpy()
    expected = np.array([[sum(image[b] * text[c]) for c in range(C)] for b in range(B)])
    scores, local = head.scores(feats)
    assert local is None
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    labels = [2, 0]
    losses = head.loss(feats, [DataSample().set_gt_label(label) for label in labels])
    scale = float(head.towers.logit_scale)
    entropies = [reference.cross_entropy(scale * expected[b], labels[b]) for b in range(B)]
    assert list(losses) == ['loss_global']
    assert losses['loss_global'].item() == pytest.approx(sum(entropies) / B, rel=1e-5)


def test_gallop_means_each_prompt_s_own_top_k(folder: str, tiny, feats):
    head, neck = build_head(folder, 'gallop', tiny.clip)
    assert neck.learn
    assert head.local_prompts.shape[:2] == (N, 4)  # shared by the classes
    similarity = similarity_of(head, feats)
    expected = np.zeros((B, C))
    for b in range(B):
        for c in range(C):
            for n, k in enumerate((5, 10, 15, 20)):
                best = sorted(similarity[b, :, c, n], reverse=True)[:k]
                expected[b, c] += sum(best) / k / N
    np.testing.assert_allclose(local_scores(head, feats), expected, rtol=1e-5, atol=1e-6)


def test_plot_transports_all_patches(folder: str, tiny, feats):
    head, neck = build_head(folder, 'plot', tiny.clip)
    assert not neck.learn
    assert head.local_prompts.shape[:2] == (N, 4)
    similarity = similarity_of(head, feats)
    expected = np.zeros((B, C))
    for b in range(B):
        for c in range(C):
            plan = reference.sinkhorn(similarity[b, :, c], epsilon=0.1, iterations=20)
            expected[b, c] = reference.local_score(plan, similarity[b, :, c], 'sum')
    np.testing.assert_allclose(local_scores(head, feats), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('method', ['sotglp', 'sotglp_noproj'])
def test_sotglp_shares_a_sparse_support(folder: str, method: str, tiny, feats):
    head, neck = build_head(folder, method, tiny.clip)
    assert neck.learn is (method == 'sotglp')
    assert head.local_prompts.shape[:2] == (C, N)
    similarity = similarity_of(head, feats)
    chosen = reference.support(similarity, k=10)
    expected = np.zeros((B, C))
    for b in range(B):
        for c in range(C):
            block = similarity[b, chosen[b, c], c]
            plan = reference.sinkhorn(block, epsilon=0.1, iterations=20)
            expected[b, c] = reference.local_score(plan, block, 'mean')
    np.testing.assert_allclose(local_scores(head, feats), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('method', ['gallop', 'plot', 'sotglp'])
def test_gradients_meet_central_differences(method: str, tiny, feats):
    """Of the loss in the local text features, along a random direction, the plan held constant."""
    head, _ = build_head('demo', method, tiny.clip)
    text = head._encode(head.local_prompts).detach().double()
    patches = feats.patches.double()
    target = torch.tensor([2, 0])
    support = head.selector(patches, text)
    plan = head.local_loss.plan(head.local_similarity(patches, text, support)).plan.double()

    def loss(t):
        similarity = head.local_similarity(patches, t, support)
        scores = (plan * similarity).sum(dim=(-2, -1))
        return torch.nn.functional.cross_entropy(10 * scores, target)

    text.requires_grad_()
    loss(text).backward()
    direction = torch.randn(
        text.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    step = 1e-5
    with torch.no_grad():
        numeric = (loss(text + step * direction) - loss(text - step * direction)) / (2 * step)
    torch.testing.assert_close((text.grad * direction).sum(), numeric, rtol=1e-6, atol=1e-9)

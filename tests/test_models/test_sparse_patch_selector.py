"""The selector as a registered part: its settings, ties, and that nothing flows back."""

import pytest
import reference
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS

from sotglp_mm.models import selectors

B, P, C, N, D, K = 2, 7, 3, 4, 6, 5
DEFAULT_ARGS = dict(type='SparsePatchSelector', k=K)


@pytest.fixture
def patches() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return F.normalize(torch.randn(B, P, D, generator=generator), dim=-1)


@pytest.fixture
def prompts() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return F.normalize(torch.randn(C, N, D, generator=generator), dim=-1)


@pytest.mark.parametrize('rank', ['mean', 'max', 'logsumexp'])
def test_agrees_with_plain_loops(patches, prompts, rank: str):
    found = MODELS.build({**DEFAULT_ARGS, 'rank': rank})(patches, prompts)
    similarity = torch.einsum('bpd,cnd->bpcn', patches, prompts)
    expected = torch.from_numpy(reference.support(similarity.numpy(), K, rank))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('rank', ['mean', 'max', 'logsumexp'])
@pytest.mark.parametrize(
    ('numbers', 'sizes'),
    [
        (1, [(1, 1)] * B * C),
        (2 * P, [(1, 2), (1, 1)] * B),
        (P * C, [(1, C)] * B),
        (B * P * C, [(B, C)]),
    ],
    ids=['one by one', 'two classes', 'an image', 'all'],
)
def test_chunks_change_nothing(patches, prompts, rank: str, numbers, sizes, monkeypatch):
    selector = MODELS.build({**DEFAULT_ARGS, 'rank': rank})
    expected = selector(patches, prompts)
    ranked = []

    def watched(some, texts, *rank):
        ranked.append((len(some), len(texts)))
        return rank_patches(some, texts, *rank)

    rank_patches = selectors.rank_patches
    monkeypatch.setattr(selectors, 'rank_patches', watched)
    numbers *= 1 if rank == 'mean' else N
    monkeypatch.setattr(selectors, 'CHUNK_NUMBERS', numbers)
    torch.testing.assert_close(selector(patches, prompts), expected)
    assert ranked == sizes


@pytest.mark.parametrize('kind', ['SparsePatchSelector', 'PromptPatchSelector'])
def test_autocast_does_not_change_the_ranking(prompts, kind: str):
    # patches that float32 tells apart, and bfloat16 does not
    nearly = 1 + 1e-5 * torch.arange(P).float()
    patches = prompts.mean(dim=(0, 1)) * nearly.expand(B, P)[..., None]
    selector = MODELS.build({**DEFAULT_ARGS, 'type': kind})
    expected = selector(patches, prompts)
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(selector(patches, prompts), expected)
    half = selector(patches.bfloat16(), prompts.bfloat16())
    torch.testing.assert_close(half, selector(*(t.bfloat16().float() for t in (patches, prompts))))


@pytest.mark.parametrize('kind', ['SparsePatchSelector', 'PromptPatchSelector'])
def test_true_is_no_number_of_patches(kind: str):
    with pytest.raises(ValueError, match=f'{kind}: k must be at least 1.*got True'):
        MODELS.build(dict(type=kind, k=True))


def test_default_is_the_paper_s_ten_by_the_mean():
    selector = MODELS.build(dict(type='SparsePatchSelector'))
    assert (selector.k, selector.rank) == (10, 'mean')


def test_of_equal_patches_the_earlier_one_is_taken(patches, prompts):
    doubled = torch.cat([patches, patches], dim=1)
    found = MODELS.build({**DEFAULT_ARGS, 'k': 2})(doubled, prompts)
    torch.testing.assert_close(found[..., 1], found[..., 0] + P)


def test_choosing_carries_no_gradient(patches, prompts):
    patches.requires_grad_()
    prompts.requires_grad_()
    support = MODELS.build(DEFAULT_ARGS)(patches, prompts)
    assert support.dtype is torch.int64
    assert not support.requires_grad


def test_more_patches_than_there_are(patches, prompts):
    with pytest.raises(ValueError, match=r'k=8 patches .* has 7; set k of SparsePatchSelector'):
        MODELS.build({**DEFAULT_ARGS, 'k': 8})(patches, prompts)


def test_settings_out_of_range():
    with pytest.raises(
        ValueError, match=r"SparsePatchSelector: k must be at least 1, or 'all', got 0"
    ):
        MODELS.build({**DEFAULT_ARGS, 'k': 0})
    with pytest.raises(ValueError, match=r"SparsePatchSelector: rank='median'.*'mean', 'max'"):
        MODELS.build({**DEFAULT_ARGS, 'rank': 'median'})

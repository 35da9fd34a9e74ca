"""The shared sparse support: plain loops, ties, sizes."""

import pytest
import reference
import torch
import torch.nn.functional as F

from sotglp_mm.functional import rank_patches, select_support

B, P, C, N, D, K = 2, 7, 3, 4, 6, 5
RANKS = ('mean', 'max', 'logsumexp')


def unit(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


@pytest.fixture
def patches() -> torch.Tensor:
    return unit(B, P, D, seed=0)


@pytest.fixture
def prompts() -> torch.Tensor:
    return unit(C, N, D, seed=1)


@pytest.mark.parametrize('rank', RANKS)
def test_ranks_agree_with_plain_loops(patches, prompts, rank: str):
    similarity = torch.einsum('bpd,cnd->bpcn', patches, prompts).numpy()
    found = rank_patches(patches, prompts, rank)
    assert found.shape == (B, P, C)
    for b in range(B):
        for p in range(P):
            for c in range(C):
                expected = reference.rank(similarity[b, p, c], rank)
                assert found[b, p, c].item() == pytest.approx(expected, abs=1e-12)


def test_the_mean_is_the_default(patches, prompts):
    torch.testing.assert_close(
        rank_patches(patches, prompts), rank_patches(patches, prompts, 'mean')
    )


@pytest.mark.parametrize('rank', RANKS)
def test_another_device_than_the_default_one(patches, prompts, rank: str):
    found = select_support(rank_patches(patches.to('meta'), prompts.to('meta'), rank), K)
    assert found.shape == (B, C, K)
    assert found.device.type == 'meta'


@pytest.mark.parametrize('rank', RANKS)
@pytest.mark.parametrize('k', [1, K, P])
def test_support_agrees_with_plain_loops(patches, prompts, rank: str, k: int):
    similarity = torch.einsum('bpd,cnd->bpcn', patches, prompts)
    found = select_support(rank_patches(patches, prompts, rank), k)
    expected = torch.from_numpy(reference.support(similarity.numpy(), k, rank))
    torch.testing.assert_close(found, expected)


def test_ranks_differ_where_one_prompt_fits_and_the_others_do_not():
    prompts = torch.eye(4)[None]  # one class, four prompts that share nothing
    fits_one = torch.tensor([1.0, 0, 0, 0])
    fits_all_half = torch.full((4,), 0.5)
    patches = torch.stack([fits_one, fits_all_half])[None]
    best = {rank: int(rank_patches(patches, prompts, rank).argmax(dim=1)) for rank in RANKS}
    assert best == {'mean': 1, 'max': 0, 'logsumexp': 0}


def test_of_equal_scores_the_lower_index_comes_first():
    scores = torch.tensor([0.1, 0.5, 0.9, 0.5, 0.5, 0.9, 0.1])
    found = select_support(scores[None, :, None], 4)
    assert found.tolist() == [[[2, 5, 1, 3]]]


def test_all_equal_scores_take_the_first_patches():
    # long enough for a sort that is not stable to shuffle
    found = select_support(torch.zeros(B, 300, C), K)
    torch.testing.assert_close(found, torch.arange(K).expand(B, C, K))


@pytest.mark.parametrize('k', [8, 0])
def test_k_out_of_range_names_both_numbers(k: int):
    with pytest.raises(ValueError, match=rf'k={k} patches .* has {P}; .* 1 to {P}'):
        select_support(torch.zeros(B, P, C), k)


def test_unknown_rank(patches, prompts):
    with pytest.raises(ValueError, match=r"rank='median'.*'mean', 'max', 'logsumexp'"):
        rank_patches(patches, prompts, 'median')


def test_order_of_awkward_numbers():
    scores = torch.tensor([-0.0, -3e38, 1e-45, 0.0, -1e-45, 3e38, -1.5, -1.25])
    found = select_support(scores[None, :, None], len(scores))
    assert found.tolist() == [[[5, 2, 0, 3, 4, 7, 6, 1]]]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_order_equals_a_stable_sort(dtype: torch.dtype):
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(B, 50, C, generator=generator).to(dtype)  # bfloat16 has many ties
    expected = scores.transpose(1, 2).argsort(dim=-1, descending=True, stable=True)
    torch.testing.assert_close(select_support(scores, 50), expected)

"""The support on any scores: ties go to the lower index, alone, in a batch, in any layout."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sotglp_mm.functional import select_support
from sotglp_mm.models import SparsePatchSelector

DTYPES = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16])
SEEDS = st.integers(0, 2**31)


@st.composite
def tied_scores(draw) -> torch.Tensor:
    """(B, P, C) of few different values, with both zeros among them."""
    shape = [draw(st.integers(1, size)) for size in (4, 40, 5)]
    generator = torch.Generator().manual_seed(draw(SEEDS))
    scores = torch.randint(-2, 3, shape, generator=generator).to(draw(DTYPES)) / 8
    return torch.where(torch.rand(shape, generator=generator) < 0.5, scores, -scores)


def by_python(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Sorted by (score, lower index first), in plain Python."""
    rows = scores.float().transpose(1, 2).tolist()
    return torch.tensor(
        [
            [sorted(range(len(row)), key=lambda p: (-row[p], p))[:k] for row in image]
            for image in rows
        ]
    )


@given(tied_scores(), st.integers(1, 40))
def test_ties_go_to_the_lower_index(scores, k):
    k = min(k, scores.shape[1])
    assert torch.equal(select_support(scores, k), by_python(scores, k))


@given(tied_scores(), st.integers(1, 40))
def test_layout_and_batch_change_nothing(scores, k):
    k = min(k, scores.shape[1])
    found = select_support(scores, k)
    strided = scores.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert torch.equal(select_support(strided, k), found)
    alone = torch.cat([select_support(image[None], k) for image in scores])
    assert torch.equal(alone, found)
    by_class = [select_support(scores[..., c : c + 1], k) for c in range(scores.shape[2])]
    assert torch.equal(torch.cat(by_class, dim=1), found)


@given(SEEDS, st.sampled_from(['mean', 'max', 'logsumexp']), st.integers(2, 6))
def test_duplicated_patches_are_taken_in_their_order(seed, rank, copies):
    generator = torch.Generator().manual_seed(seed)
    few = torch.nn.functional.normalize(torch.randn(2, 3, 8, generator=generator), dim=-1)
    prompts = torch.nn.functional.normalize(torch.randn(4, 2, 8, generator=generator), dim=-1)
    patches = few.repeat_interleave(copies, dim=1)
    found = SparsePatchSelector(k=copies, rank=rank)(patches, prompts)
    # K is the number of copies: the copies of the best patch, the first one first
    first = found[..., :1]
    assert torch.equal(found, first + torch.arange(copies))
    assert (first % copies == 0).all()

"""OOD scores on cases small enough to work out by hand, in plain Python."""

import math

import pytest
import torch

from sotglp_mm.functional import gl_mcm, local_mcm, mcm

# (B=2, C=3, G=2): means over prompts are (0.3, 0.1, 0.2) and (0.2, 0.2, 0.2)
GLOBAL = [[[0.2, 0.4], [0.0, 0.2], [0.2, 0.2]], [[0.1, 0.3], [0.2, 0.2], [0.4, 0.0]]]
# (B=2, P=2, C=3, N=1): the second patch of image 0 is the most decided one
LOCAL = [
    [[[0.1], [0.1], [0.2]], [[0.1], [0.9], [0.0]]],
    [[[0.3], [0.2], [0.2]], [[0.2], [0.2], [0.2]]],
]


def highest_probability(cosines: list[float], tau: float) -> float:
    weights = [math.exp(c / tau) for c in cosines]
    return max(weights) / sum(weights)


def expected_mcm(tau: float) -> list[float]:
    return [-highest_probability(row, tau) for row in ([0.3, 0.1, 0.2], [0.2, 0.2, 0.2])]


def expected_local_mcm(tau: float) -> list[float]:
    decided = [[0.1, 0.9, 0.0], [0.3, 0.2, 0.2]]
    return [-highest_probability(row, tau) for row in decided]


@pytest.mark.parametrize('tau', [1.0, 0.1, 0.01])
def test_hand_made_cases(tau: float):
    global_ = torch.tensor(GLOBAL, dtype=torch.float64)
    local = torch.tensor(LOCAL, dtype=torch.float64)
    alone, patchwise = expected_mcm(tau), expected_local_mcm(tau)
    both = [a + b for a, b in zip(alone, patchwise)]
    for found, expected in (
        (mcm(global_, tau), alone),
        (local_mcm(local, tau), patchwise),
        (gl_mcm(global_, local, tau), both),
    ):
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_default_temperature_is_one():
    global_, local = torch.tensor(GLOBAL), torch.tensor(LOCAL)
    torch.testing.assert_close(mcm(global_), mcm(global_, 1.0))
    torch.testing.assert_close(local_mcm(local), local_mcm(local, 1.0))
    torch.testing.assert_close(gl_mcm(global_, local), gl_mcm(global_, local, 1.0))


def test_local_scores_average_prompts_before_classes_compete():
    # two prompts that disagree cancel: averaging probabilities instead would give more than 1/2
    local = torch.tensor([[[[0.9, 0.1], [0.1, 0.9]]]])  # (1, 1, 2, 2)
    expected = torch.tensor([-0.5], dtype=torch.float64)
    torch.testing.assert_close(local_mcm(local, tau=0.01), expected, rtol=1e-5, atol=0)


def test_an_undecided_image_is_farther_out_than_a_decided_one():
    scores = mcm(torch.tensor(GLOBAL), tau=0.01)
    assert scores[0] < scores[1]
    assert scores[1].item() == pytest.approx(-1 / 3, abs=1e-4)


def test_a_high_temperature_does_not_make_images_tie():
    # at tau = 1000 a probability is 1/C and a little: float32 has no digits left for the little
    cosines = torch.zeros(2, 1000, 1)
    cosines[:, 7, 0] = torch.tensor([0.3, 0.3 + 1e-5])
    found = mcm(cosines, tau=1000.0)
    assert found[1] < found[0]
    assert mcm(cosines.bfloat16()).dtype is torch.float64


@pytest.mark.parametrize('tau', [0.0, -1.0])
def test_temperature_must_be_positive(tau: float):
    with pytest.raises(ValueError, match=rf'tau must be > 0, got {tau}'):
        mcm(torch.tensor(GLOBAL), tau)

"""Objectives against hand-computed values."""

from __future__ import annotations

import pytest
import torch

from baselines.hyperparameters import LOSSES
from baselines.objectives.ppo import generalised_advantages, whiten
from baselines.objectives.preference_losses import preference_loss
from baselines.objectives.rloo import clipped, leave_one_out

# Values for (a, b) = (0, 0), (1, −0.5), (−2, 1); β = 0.1, smoothing 0.1 for cdpo and robust, 1e-3 for exo_pair.
EXPECTED = {
    "sigmoid": (0.693147, 0.620957, 0.854355), "cdpo": (0.693147, 0.635957, 0.824355),
    "robust": (0.693147, 0.602207, 0.891855), "hinge": (1, 0.85, 1.3), "ipo": (25, 12.25, 64),
    "exo_pair": (2.761231, 2.505517, 3.286512), "nca_pair": (1.386294, 1.350825, 1.469407),
    "sppo_hard": (50, 36.25, 85), "apo_zero": (1, 0.962523, 1.074813), "apo_down": (1, 0.987549, 1.024609),
    "discopop": (0.846574, 0.849338, 0.855580),
    "ipo_mean": (25, (1 / 2 + 0.5 / 4 - 5) ** 2, (-1 - 1 / 4 - 5) ** 2),  # lengths 2 and 4
}


@pytest.mark.parametrize("name", LOSSES)
def test_preference_losses(name):
    a, b = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([0.0, -0.5, 1.0])
    smoothing = {"cdpo": 0.1, "robust": 0.1, "exo_pair": 1e-3}.get(name, 0.0)
    lengths = (torch.tensor([2.0] * 3), torch.tensor([4.0] * 3))
    values = preference_loss(name, a, b, 0.1, smoothing, lengths)
    assert values.tolist() == pytest.approx(EXPECTED[name], abs=2e-6, rel=1e-6)


def test_leave_one_out_is_the_mean_of_the_others():
    rewards = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    assert leave_one_out(rewards, 3).tolist() == [1 - 4, 2 - 3.5, 6 - 1.5, -1.5, -1.5, 3.0]
    assert leave_one_out(torch.tensor([5.0, 1.0]), 2).tolist() == [4, -4]


def test_the_clipped_surrogate_is_pessimistic():
    ratio = torch.tensor([1.5, 0.5, 1.5, 0.5, 1.0])
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0, 2.0])
    assert clipped(advantages, ratio, 0.2).tolist() == pytest.approx([-1.2, -0.5, 1.5, 0.8, -2.0])


def test_gae_by_hand():
    """γ = 1, λ = 0.5, three tokens in row 0, two in row 1."""
    rewards = torch.tensor([[0.0, 0.0, 1.0], [0.5, 2.0, 0.0]])
    values = torch.tensor([[0.2, 0.4, 0.6], [1.0, 1.0, 0.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    advantages = generalised_advantages(rewards, values, mask, 1.0, 0.5)
    assert advantages[0].tolist() == pytest.approx([0.2 + 0.5 * (0.2 + 0.5 * 0.4), 0.2 + 0.5 * 0.4, 0.4])
    assert advantages[1].tolist() == pytest.approx([0.5 + 0.5 * 1.0, 1.0, 0.0])


def test_gae_with_lambda_one_is_return_minus_value():
    rewards, values = torch.rand(4, 6), torch.rand(4, 6)
    advantages = generalised_advantages(rewards, values, torch.ones(4, 6), 1.0, 1.0)
    returns = rewards.flip(1).cumsum(1).flip(1)
    assert torch.allclose(advantages, returns - values, atol=1e-6)


def test_whitening_ignores_padding():
    values = torch.tensor([[1.0, 3.0, 99.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0]])
    assert whiten(values, mask).tolist()[0] == pytest.approx([-1 / 2**0.5, 1 / 2**0.5, 0.0], abs=1e-6)

"""Numerical health: figures against hand-made cases, and the words for a run that follows noise."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.estimators.health import Arrival, Health, noise_floor
from benchmark.core.errors import RunError
from benchmark.lm.rollout import Batch
from benchmark.lm.sequences import Sequences
from tests.baselines.parts import make, problem, step
from tests.baselines.test_estimators import batch, linear_loss, parameters

FIGURES = {"relative_perturbation": 1e-3, "changed_share": 1.0, "step_cosine": -1.0, "step_norm": 0.1, "z_norm": 1.0}


def test_arrival_by_hand():
    theta, after, z = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 5.0]), torch.tensor([1e-9, math.sqrt(2)])
    arrival = Arrival(0.5)
    arrival.note(theta, after, z)
    figures = arrival.figures()
    assert figures["changed_share"] == 0.5 and figures["step_norm"] == 1.0
    assert figures["z_norm"] == pytest.approx(math.sqrt(2))
    assert figures["relative_perturbation"] == pytest.approx(0.5 * math.sqrt(2) / 5)
    assert figures["step_cosine"] == pytest.approx(1)


def test_a_step_follows_z_unless_its_dtype_swallows_it():
    for dtype, lr, sure in ((torch.float32, 1e-2, True), (torch.bfloat16, 1e-6, False)):
        params = parameters(dtype=dtype)
        estimator = make("mezo", params, lr=lr, epsilon=1e-2)
        slope = {name: torch.ones_like(p) for name, p in params.items()}
        figures = step(estimator, linear_loss(params, slope), batch())
        assert figures["changed_share"] > 0.5
        assert (abs(figures["step_cosine"]) > 0.999) == sure


def sizes(params, relative):
    return {name: relative * p.float().norm().item() for name, p in params.items()}


def test_the_noise_floor_is_the_rounding_of_the_dtype():
    """A sum of n products rounds by about √n units in the last place; θ is left as it was."""
    floors = {}
    for dtype in (torch.float32, torch.bfloat16):
        params = parameters(dtype=dtype)
        before = {name: p.detach().clone() for name, p in params.items()}
        size = sum(p.float().square().sum() for p in params.values()).item() * 3.5  # mean weight of the rows
        floor = noise_floor(params, sizes(params, 1e-6), problem(linear_loss(params, before), batch()), 0)
        floors[dtype] = floor / size
        assert all(torch.equal(before[name], p) for name, p in params.items())
    assert 1e-8 < floors[torch.float32] < 1e-6
    assert 1e-4 < floors[torch.bfloat16] < 5e-2


def test_neither_slope_nor_curvature_is_noise():
    """A large perturbation of a steep, bent loss: the floor stays that of a small one."""
    params = parameters()

    def loss(part):
        return sum((10 * p + p.square()).sum() for p in params.values()) / part.rows * len(part.parts[0])

    small, large = (noise_floor(params, sizes(params, relative), problem(loss, batch(), 8), 0)
                    for relative in (1e-4, 1.0))
    size = abs(loss(batch()).item())
    assert small < 1e-5 * size and large < 1e-5 * size


def test_the_noise_floor_knows_terms_that_cancel():
    """Advantages add up to zero, so the loss is zero to within its rounding: the floor is that of its terms."""
    weights = torch.tensor([1.0, -1.0] * 8)
    sequences = Sequences(torch.ones(16, 2, dtype=torch.long), torch.ones(16, 2, dtype=torch.long), 1)
    rows = Batch.of((sequences,), {"weight": weights})
    floor = noise_floor({}, {}, problem(lambda part: part.values["weight"].sum(), rows, 16))
    assert 1e-7 < floor < 1e-5


def test_the_noise_floor_of_a_random_loss_holds_95_percent():
    """Noise of known size: the floor is twice the standard deviation of a difference, on the average."""
    stream = torch.Generator().manual_seed(0)
    random = problem(lambda part: torch.randn((), generator=stream) * 0.1, batch(8), 1)
    floors = [noise_floor({}, {}, random, i) for i in range(60)]
    expected = 2 * 0.1 * math.sqrt(2 * 8)  # eight parts each, and the difference of two evaluations
    assert (sum(f * f for f in floors) / 60) ** 0.5 == pytest.approx(expected, rel=0.25)


def test_a_loss_that_is_not_finite_is_divergence():
    with pytest.raises(RunError, match="diverged"):
        noise_floor({}, {}, problem(lambda part: torch.tensor(float("nan")), batch()))


def test_a_run_below_its_noise_says_in_which_iterations():
    health = Health()
    assert health.summary() is None and health.warnings() == []
    for iteration, difference in ((1, 1e-3), (1, 1e-3), (2, 1e-9), (2, -1e-9), (3, 1e-9)):
        health.note(iteration, {**FIGURES, "difference": difference, "noise_floor": 1e-6})
    summary = health.summary()
    assert summary["updates"] == 5 and summary["below_noise"] == 0.6
    assert summary["median_signal_to_noise"] == pytest.approx(1e-3) and summary["median_step_cosine"] == 1
    (words,) = health.warnings()
    assert words.startswith("below noise: in 3 of 5") and "2 of 2 in iteration 3, 1 of 1 in iteration 4" in words
    for _ in range(5):
        health.note(4, {**FIGURES, "difference": 1.0, "noise_floor": 1e-6})
    assert health.warnings() == []


def test_a_run_most_of_whose_updates_have_no_slope_says_so():
    """Of either order: of the exact gradient it is the norm that is zero, of two readings their difference."""
    for zero, good in (({"gradient_norm": 0.0}, {"gradient_norm": 1.0}),
                       ({**FIGURES, "difference": 0.0, "noise_floor": 1e-6},
                        {**FIGURES, "difference": 1.0, "noise_floor": 1e-6})):
        health = Health()
        for iteration, figures in ((0, good), (1, zero), (1, zero)):
            health.note(iteration, figures)
        assert health.warnings()[0].startswith("zero gradient: in 2 of 3 updates")
        assert "2 of 2 in iteration 2" in health.warnings()[0]
        health.note(2, good)
        assert health.warnings() == []

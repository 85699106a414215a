"""Latent directions; Haar bases and the rules of SubZero and ZO-Muon against theory."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.contract import Direction, Progress
from baselines.estimators.probes import OneSided, TwoPoint
from baselines.estimators.rules import newton_schulz
from baselines.estimators.zeroth_order import ZerothOrderEstimator
from baselines.parts import RULES
from baselines.registry import get_method
from tests.baselines.parts import make, step
from tests.baselines.test_estimators import batch, parameters
from tests.baselines.test_family_subspaces import FAMILY, FEW, MUON, SUBZERO, bent_loss, built, copies, evaluated

# --- latent directions --------------------------------------------------------------------------------------------


class Identity(Direction):
    """Gaussian, as a latent direction of which the coordinates are the tensor itself."""

    latent = True

    def coordinates(self, name, theta, noise):
        return noise()

    def lift(self, name, theta, coordinates):
        return coordinates

    def latent_shape(self, name, theta):
        return tuple(theta.shape)


@pytest.mark.parametrize("rule", ["sgd", "sign", "momentum"])
def test_an_identity_lift_gives_mezos_bits(rule):
    """With lr a power of two: then one rounding less, as a fused multiply-add has it, is none."""
    settings = {"lr": 2.0**-10, "epsilon": 1e-2}
    ours, theirs = parameters(), parameters()
    row = get_method("mezo-momentum")
    values = {**row.resolved({}), **settings}
    probe = TwoPoint(type("Settings", (), {"epsilon": 1e-2, "samples": 1}))
    latent = ZerothOrderEstimator(ours, Identity(ours, None), probe,
                                  lambda tensors: RULES[rule].build(tensors, values), 0)
    plain = {"sgd": "mezo", "sign": "mezo-sign", "momentum": "mezo-momentum"}[rule]
    mezo = make(plain, theirs, **settings)
    for _ in range(4):
        mine, other = (step(e, bent_loss(p), batch()) for e, p in ((latent, ours), (mezo, theirs)))
        assert mine == other
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_weight_decay_of_a_latent_direction_is_that_of_the_tensor():
    params = parameters()
    before = copies(params)
    step(built("lozo", params, lr=0.5, weight_decay=0.1), lambda part: torch.zeros(()), batch())
    assert all(torch.allclose(p, 0.95 * before[name]) for name, p in params.items())


def test_one_sided_slopes_are_averaged_over_directions():
    probe = OneSided(type("Settings", (), {"epsilon": 0.5, "samples": 2}))
    assert probe.points() == [(0, 0.0), (0, 0.5), (1, 0.5)] and probe.forwards == 3
    assert probe.weights([1.0, 1.5, 0.75]) == {0: 0.5, 1: -0.25}


# --- Haar bases, SubZero and ZO-Muon --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", SUBZERO + MUON)
def test_bases_are_orthonormal_and_uniform(method):
    """E of an entry is 0: Q of a QR decomposition without the sign fix has one sign on its diagonal."""
    firsts = []
    for seed in range(200):
        estimator = built(method, {"a": torch.nn.Parameter(torch.zeros(8, 4))}, seed)
        bases = estimator.direction.bases((8, 4), estimator._noise(0, "a"), 0)
        for base in bases:
            if base is not None:
                assert torch.allclose(base.T @ base, torch.eye(2), atol=1e-5)
        firsts.append(bases[0][0, 0].item())
    assert 60 < sum(first > 0 for first in firsts) < 140


def test_subzero_directions_are_as_long_as_mezos_and_subzero_plus_as_its_coordinates():
    params = {"a": torch.nn.Parameter(torch.zeros(40, 30, dtype=torch.float64))}
    squares = {}
    for method in SUBZERO:
        made = [make(method, params, seed, subspace_rank=5, **FEW.get(method, {})) for seed in range(60)]
        squares[method] = sum(evaluated(estimator)[0, "a"].square().sum() for estimator in made) / 60
    assert squares["subzero"] == pytest.approx(1200, rel=0.15)
    assert squares["subzero-plus"] == pytest.approx(25, rel=0.15)


def test_subzero_searches_factors_of_adapters_in_their_most_square_shape():
    name = "model.layers.0.q_proj.lora_A.weight"
    params = {name: torch.nn.Parameter(torch.zeros(2, 32))}
    estimator = make("subzero", params, subspace_rank=8)
    assert estimator.acted[name].shape == (8, 8)
    z = evaluated(estimator)[0, name]
    assert z.shape == (2, 32) and torch.linalg.matrix_rank(z.view(8, 8)) == 8
    step(estimator, lambda part: params[name].sin().sum(), batch())
    assert params[name].shape == (2, 32)


def test_with_one_two_sided_query_and_sgd_subzero_plus_would_be_subzero():
    """The directions differ by the factor √(mn)/r alone."""
    plain, plus = (evaluated(built(method, parameters()))[0, "b"] for method in SUBZERO)
    assert torch.allclose(plain, plus * math.sqrt(64) / 2, atol=1e-5)


@pytest.mark.parametrize(("moments", "steps"), [("keep", 4.0), ("reset", 1.0)])
def test_subzero_plus_keeps_or_forgets_its_moments_when_the_subspace_changes(moments, steps):
    params = parameters()
    estimator = built("subzero-plus", params, lr=1e-2, moments=moments)
    for _ in range(3):
        step(estimator, bent_loss(params), batch())
    before = {name: p.clone() for name, p in estimator.rule.optimizer.state[estimator.acted["a"]].items()}
    step(estimator, lambda part: torch.ones(()), batch())  # no signal: what is left is what was kept
    after = estimator.rule.optimizer.state[estimator.acted["a"]]
    assert after["step"].item() == steps
    assert torch.allclose(after["exp_avg"], 0.9 * before["exp_avg"] if moments == "keep" else torch.zeros(2, 2))


def test_newton_schulz_brings_singular_values_near_one_and_keeps_the_singular_vectors():
    matrix = torch.linalg.qr(torch.randn(12, 5))[0] @ torch.diag(torch.tensor([3.0, 2, 1, 0.5, 0.1]))
    matrix = matrix @ torch.linalg.qr(torch.randn(5, 5))[0]
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    for given, (left, right) in ((matrix, (u, v)), (matrix.T, (v.T, u.T)), (1e-5 * matrix, (u, v))):
        core = left.T @ newton_schulz(given) @ right.T
        values = core.diagonal()
        assert ((values > 0.68) & (values < 1.21)).all() and torch.allclose(core, torch.diag(values), atol=1e-3)
    assert torch.equal(newton_schulz(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_a_zo_muon_step_is_as_long_as_its_rank_and_learning_rate_say():
    params = parameters()
    before = copies(params)
    step(built("zo-muon", params, lr=1e-2), bent_loss(params), batch())
    for name, p in params.items():
        assert 0.68 * 1e-2 * 2**0.5 < (p - before[name]).norm().item() < 1.21 * 1e-2 * 2**0.5


def test_a_rank_beyond_a_side_of_the_matrix_is_cut_to_it():
    params = parameters()
    for method in FAMILY:
        estimator = make(method, params, subspace_rank=64, **FEW.get(method, {}))
        assert max(min(part.shape) for part in estimator.acted.values()) <= 4
        assert math.isfinite(step(estimator, bent_loss(params), batch(), progress=Progress(0.1, 0.1))["loss"])

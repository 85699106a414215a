"""Evolution strategies against theory: what members are, what their fitness weighs, what a step is."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.contract import Noise
from baselines.estimators.directions.factors import RandomFactors
from baselines.estimators.probes import Population
from baselines.hyperparameters import RandomFactorsSettings
from benchmark.core.errors import ConfigError, RunError
from tests.baselines.parts import make, step, z_of
from tests.baselines.test_estimators import batch, linear_loss, parameters

METHODS = ("es", "es-plain", "eggroll")


def members(estimator, names):
    """(scale, z by name) of every reading of the next update."""
    return [(scale, {name: estimator.z(sample, name) for name in names})
            for sample, scale in estimator.probe.points()]


def made(method, params, **values):
    return make(method, params, **{"lr": 0.1, "sigma": 1e-2, "population": 6} | values)


def stepped(method, loss_of, updates=1, **values):
    """Parameters before and after, members and figures of the last of some updates."""
    params = {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}
    estimator = made(method, params, **values)
    for _ in range(updates):
        before = {name: p.detach().clone() for name, p in params.items()}
        drawn = members(estimator, params)
        figures = step(estimator, loss_of(params), batch())
    return before, params, drawn, figures


def quadratic(params, scale=1.0):
    return lambda part: scale * sum((p - 0.3).square().sum() for p in params.values()) * len(part) / part.rows


def losses_at(before, drawn, scale=1.0):
    return torch.tensor([scale * sum((before[name] + eps * z[name] - 0.3).square().sum() for name in before)
                         for eps, z in drawn])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("updates", [1, 3])
def test_the_step_is_the_fitness_weighted_mean_of_the_evaluated_members(method, updates):
    before, after, drawn, _ = stepped(method, quadratic, updates)
    losses = losses_at(before, drawn)
    centred, n = losses - losses.mean(), len(losses)
    if method == "eggroll":
        weights = 1e-2 * math.sqrt(n) * centred / (losses.var(correction=0) + 1e-5).sqrt()
    else:
        weights = centred / losses.std(correction=0)
    for name in before:
        expected = sum(w * math.copysign(1, eps) * z[name] for w, (eps, z) in zip(weights, drawn, strict=True)) / n
        assert torch.allclose(after[name] - before[name], -0.1 * expected, rtol=1e-6, atol=1e-9)


def test_ranks_are_those_of_the_members_whatever_the_losses_are():
    for losses in ([3.0, 1.0, 2.0, 9.0, 5.0], [30.0, -1.0, 2.5, 1e9, 31.0]):
        assert Population.shaped(type("P", (), {"settings": type("S", (), {"fitness": "ranks"})}), losses) == [
            0.0, -0.5, -0.25, 0.5, 0.25]
    before, after, drawn, _ = stepped("es", quadratic, fitness="ranks")
    places = losses_at(before, drawn).argsort().argsort().double() / 5 - 0.5
    for name in before:
        expected = sum(w * math.copysign(1, eps) * z[name] for w, (eps, z) in zip(places, drawn, strict=True)) / 6
        assert torch.allclose(after[name] - before[name], -0.1 * expected, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_members_are_pairs_or_all_different(method):
    params = parameters()
    drawn = members(made(method, params), params)
    moves = [eps * z["a"] for eps, z in drawn]
    if method == "es-plain":
        assert all(eps > 0 for eps, _ in drawn)
    else:
        assert all(torch.equal(plus, -minus) for plus, minus in zip(moves[::2], moves[1::2], strict=True))
        moves = moves[::2]
    cosines = [torch.cosine_similarity(a.flatten(), b.flatten(), 0).abs().item()
               for i, a in enumerate(moves) for b in moves[:i]]
    assert max(cosines) < 0.8 and len(moves) in (3, 6)


@pytest.mark.parametrize("fitness", ["zscore", "ranks"])
@pytest.mark.parametrize("method", METHODS)
def test_equal_fitness_makes_no_update(method, fitness):
    params = parameters()
    before = {name: p.detach().clone() for name, p in params.items()}
    shaping = {} if method == "eggroll" else {"fitness": fitness}
    estimator = made(method, params, weight_decay=0.1, **shaping)  # nor does θ decay
    figures = step(estimator, lambda part: torch.tensor(2.0) * len(part) / part.rows, batch())
    assert all(torch.equal(p, before[name]) for name, p in params.items())
    assert figures["step_norm"] == 0 and all(math.isfinite(value) for value in figures.values())


def test_members_of_equal_rank_cancel_in_pairs():
    """Two pairs, each with one good and one bad member of the same losses: ranks are shared, not dealt out."""
    probe = made("es", parameters(), population=4, fitness="ranks").probe
    assert probe.weights([1.0, 2.0, 2.0, 1.0]) == pytest.approx({0: -1 / 6, 1: 1 / 6})
    assert probe.shaped([1.0, 2.0, 2.0, 5.0]) == [-0.5, 0.0, 0.0, 0.5]  # the mean of the places they share


@pytest.mark.parametrize("method", METHODS)
def test_the_step_does_not_depend_on_the_scale_of_the_reward(method):
    steps = []
    for scale in (1.0, 1000.0):
        before, after, *_ = stepped(method, lambda params, scale=scale: quadratic(params, scale))
        steps.append(torch.cat([(after[name] - before[name]).flatten() for name in before]))
    assert torch.allclose(steps[0], steps[1], rtol=1e-3) and steps[0].norm() > 0


@pytest.mark.parametrize("method", METHODS)
def test_on_a_linear_loss_the_mean_step_is_along_the_gradient_by_the_stated_multiple(method):
    """E[step] = −lr·c/‖c‖ for ES (z-scores of a linear loss have slope 1/‖c‖σ, of which σ is left), times σ√N for
    EGGROLL, exact for many members; 200 updates of 40 members are within a tenth of it."""
    torch.manual_seed(0)
    params = {"a": torch.nn.Parameter(torch.zeros(3, 2).double())}
    slope = {"a": torch.randn(3, 2).double()}
    estimator, n, sigma = made(method, params, population=40, lr=1.0), 40, 1e-2
    if method == "eggroll":
        estimator = made(method, params, population=40, lr=1.0, sigma=1.0)  # var + 1e-5 is var
        sigma = 1.0
    for _ in range(200):
        step(estimator, linear_loss(params, slope), batch())
    mean = params["a"].detach() / 200
    expected = -slope["a"] / slope["a"].norm() * (sigma * math.sqrt(n) if method == "eggroll" else 1)
    assert (mean - expected).norm() < 0.1 * expected.norm()


def test_a_low_rank_member_has_that_rank_and_the_length_of_a_dense_one():
    theta, squares = torch.zeros(24, 16), []
    for rank in (1, 3):
        direction = RandomFactors({}, RandomFactorsSettings(rank))
        z = [direction.z("w", theta, Noise(theta, "w", 0, update)) for update in range(400)]
        assert all(torch.linalg.matrix_rank(member) == rank for member in z[:20])
        squares = torch.stack([member.square().sum() for member in z])
        assert squares.mean().item() == pytest.approx(24 * 16, abs=4 * squares.std().item() / 20)
        assert torch.stack(z).mean().abs() < 4 / math.sqrt(400 * 24 * 16) * rank  # A and B are not the same numbers
        assert torch.stack([member.diagonal() for member in z]).mean().abs() < 4 / math.sqrt(400 * 16)
    vector = torch.zeros(50)
    assert torch.equal(RandomFactors({}, RandomFactorsSettings(1)).z("v", vector, Noise(vector, "v", 0, 1)),
                       Noise(vector, "v", 0, 1)())


def test_one_pair_of_es_is_a_two_point_step_of_mezos_direction_and_length_lr():
    ours, theirs = parameters(), parameters()
    es, mezo = made("es", ours, population=2), make("mezo", theirs, lr=0.1, epsilon=1e-2)
    z = {name: z_of(mezo, name) for name in theirs}
    before = {name: p.detach().clone() for name, p in ours.items()}
    step(es, quadratic(ours), batch())
    slope = step(mezo, quadratic(theirs), batch())["slope"]
    for name in ours:  # z-scores of two are ±1
        assert torch.allclose(ours[name], before[name] - 0.1 * math.copysign(1, slope) * z[name], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_readings_are_as_many_as_members_and_as_the_method_says(method):
    from baselines.registry import get_method

    count, params = 0, parameters()

    def loss(part):
        nonlocal count
        count += len(part)
        return linear_loss(params, parameters(1))(part)

    step(made(method, params), loss, batch())
    row = get_method(method)
    passes = row.estimator.passes(row.resolved({method: {"population": 6}}), False)
    assert count == 6 * len(batch()) == passes * len(batch())


@pytest.mark.parametrize("method", METHODS)
def test_a_population_goes_on_after_a_resume_and_its_draws_are_kept_or_made_anew(method):
    ours, theirs = parameters(), parameters()
    whole, half = made(method, ours, population=12), made(method, theirs, population=12, stream=False)
    for _ in range(2):
        step(whole, quadratic(ours), batch())
        step(half, quadratic(theirs), batch())
    again = make(method, theirs, stream=True, lr=0.1, sigma=1e-2, population=12)
    again.load_state(half.state())
    for estimator, params in ((whole, ours), (again, theirs)):
        for _ in range(2):
            step(estimator, quadratic(params), batch(), size=2)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("place", [0, 3])
def test_a_reading_that_is_not_finite_stops_the_run(place):
    readings = iter([1.0 if i != place else math.nan for i in range(6)])
    with pytest.raises(RunError, match="diverged"):
        step(made("es", parameters()), lambda part: torch.tensor(next(readings)), batch(), size=100)


def test_antithetic_members_must_be_even_in_number():
    with pytest.raises(ConfigError, match="antithetic=false"):
        made("es", parameters(), population=5)
    assert made("es-plain", parameters(), population=5).probe.forwards == 5

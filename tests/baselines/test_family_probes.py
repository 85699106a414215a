"""Probes and rules of the zeroth-order family against theory, on losses whose slope is known."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

from baselines import hyperparameters as hp
from baselines import registry
from baselines.estimators.probes import Normalised, OneSided
from baselines.estimators.rules import RAdaZO
from baselines.registry import get_method
from benchmark.core.checkpoint import Checkpoints
from benchmark.core.errors import RunError
from benchmark.core.fields import fields_of
from benchmark.run.problem import BatchProblem
from tests.baselines.parts import START, Given, make, problem, step
from tests.baselines.test_estimators import batch, linear_loss, parameters

FOLLOWED = ["mezo-q2", "mezo-q5", "mezo-q10", "mezo-conservative", "mezo-sign-scalar", "meazo", "fzoo",
            "forward-gradient", "random-search"]  # by SGD
METHODS = [*FOLLOWED, "mezo-momentum", "mezo-sign", "mezo-adam", "radazo"]
SLOPE = parameters(1)
SETTINGS = {"lr": 1e-3, "epsilon": 1e-2}


def made(method, params, seed=0, **values):
    fields = get_method(method).fields()
    return make(method, params, seed, **{name: value for name, value in (SETTINGS | values).items() if name in fields})


def bent(params):
    """A loss with curvature, additive over micro-batches."""
    def loss(part):
        value = sum((SLOPE[name].detach() * p).sum() + (p * p).sum() / 4 for name, p in params.items())
        return value * part.values["weight"].sum() / part.rows
    return loss


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors.values()]).double()


class Counted(BatchProblem):
    """Counts its readings."""

    def __init__(self, loss):
        super().__init__(Given(loss), batch(), 4)
        object.__setattr__(self, "readings", [])

    def value(self):
        self.readings.append(super().value())
        return self.readings[-1]


@pytest.mark.parametrize("suffix", ["", "-dpo"])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_a_row_on_both_objectives(method, suffix):
    row = get_method(method + suffix)
    assert (row.objective, row.group) == ("dpo" if suffix else "rloo", "zo")
    assert row.estimator == get_method(method).estimator


def test_no_two_parts_of_a_method_share_the_name_of_a_hyperparameter():
    for method in registry.METHODS.values():
        parts = {registry.OBJECTIVES[method.objective].settings, *method.estimator.settings()}
        assert sum(len(fields_of(part)) for part in parts) == len(fields_of(*parts)), method.name


@pytest.mark.parametrize("method", FOLLOWED)
def test_every_step_is_a_combination_of_the_evaluated_directions(method):
    params = parameters()
    estimator = made(method, params, lr=1.0 if method == "random-search" else 1e-3)
    for _ in range(3):
        estimator.direction.begin(estimator.updates, START)
        samples = sorted({sample for sample, scale in estimator.probe.points() if scale or estimator.probe.exact})
        zs = torch.stack([flat({name: estimator.z(sample, name) for name in params}) for sample in samples], 1)
        before = flat(params)
        step(estimator, bent(params), batch())
        moved = flat(params) - before
        rest = moved - zs @ torch.linalg.lstsq(zs, moved[:, None]).solution[:, 0]
        assert moved.norm() > 0 and rest.norm() < 1e-3 * moved.norm()


@pytest.mark.parametrize(("method", "values"), [
    ("mezo-momentum", {"momentum": 0.0}), ("mezo-q5", {"samples": 1}),
    ("mezo-conservative", {"lr": 1e-5}),  # so small that every step goes down, and is kept
])
def test_it_is_mezo_bit_for_bit_without_what_makes_it_another(method, values):
    results = []
    for name, own in ((method, values), ("mezo", {key: value for key, value in values.items() if key == "lr"})):
        params = parameters()
        estimator = made(name, params, **own)
        for _ in range(5):
            step(estimator, linear_loss(params, SLOPE), batch())
        results.append(params)
    assert all(torch.equal(results[0][name], results[1][name]) for name in params)


@pytest.mark.parametrize(("method", "beside", "values"), [
    ("meazo", "mezo-sign-scalar", {"memory": 0.0}),  # the running deviation is the slope's own size
    ("radazo", "mezo-sign", {"beta1": 0.0, "beta2": 0.0, "zeta": 1e-20}),
])
def test_adaptive_scales_without_memory_leave_the_sign(method, beside, values):
    results = []
    for name, own in ((method, values), (beside, {})):
        params = parameters()
        estimator = made(name, params, **own)
        for _ in range(3):
            step(estimator, bent(params), batch())
        results.append(flat(params))
    assert torch.allclose(*results, atol=1e-6) and not torch.allclose(results[0], flat(parameters()), atol=1e-6)


def test_with_epsilon_for_the_deviation_fzoo_is_the_one_sided_estimate():
    losses = [1.0, 1.3, 0.8, 1.1]
    ours = Normalised(hp.NormalisedSettings(epsilon=0.1, samples=3)).weights(losses)
    theirs = OneSided(hp.TwoPointSettings(epsilon=0.1, samples=3)).weights(losses)
    spread = statistics.pstdev(losses[1:])
    assert {i: weight * spread / 0.1 for i, weight in ours.items()} == pytest.approx(theirs)


def test_meazo_divides_by_the_running_root_mean_square_of_the_slopes():
    probe = made("meazo", parameters(), memory=0.9, samples=2).probe
    slopes, second = [(3.0, 1.0), (-2.0, 4.0), (0.5, 0.5)], 0.0
    for update, (one, two) in enumerate(slopes, 1):
        second = 0.9 * second + 0.1 * ((one + two) / 2) ** 2
        weights = probe.weights([one * 0.02, 0.0, two * 0.02, 0.0])
        scale = math.sqrt(second / (1 - 0.9**update))
        assert weights == pytest.approx({0: one / 2 / scale, 1: two / 2 / scale})


def test_radazo_takes_its_second_moment_from_the_first():
    params = {"a": torch.nn.Parameter(torch.zeros(3))}
    settings = hp.RAdaZOSettings(beta1=0.9, beta2=0.99, zeta=1e-3, weight_decay=0.1)
    rule, m, v, theta = RAdaZO(params, settings), torch.zeros(3), torch.zeros(3), torch.zeros(3)
    for update in range(3):
        gradient = torch.tensor([1.0, -2.0, 0.5]) * (update + 1)
        m = 0.9 * m + 0.1 * gradient
        v = 0.99 * v + 0.01 * m * m
        theta = theta - 0.05 * (m / (v + 1e-3).sqrt() + 0.1 * theta)
        rule.step(["a"], gradient.clone(), 0.05)
    assert torch.allclose(params["a"], theta, atol=1e-6)
    rule.carry(lambda name, moment: 2 * moment)
    assert torch.allclose(rule.moments["a"][0], 2 * m)
    rule.carry(lambda name, moment: None)
    assert rule.moments == {}


def test_fzoo_needs_no_epsilon_on_a_linear_loss_and_moves_every_entry_by_lr_over_root_n():
    ends, start = [], parameters()
    for epsilon in (1e-3, 1e-1):
        params = {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}
        step(made("fzoo", params, epsilon=epsilon), linear_loss(params, SLOPE), batch())
        ends.append(flat(params))
    assert torch.allclose(*ends, atol=1e-9)
    size = ((ends[0] - flat(start)).square().mean().sqrt() / SETTINGS["lr"]).item()
    assert 0.5 / math.sqrt(8) < size < 2 / math.sqrt(8)


@pytest.mark.parametrize("method", ["fzoo", "mezo-q5", "forward-gradient", "meazo"])
def test_the_mean_step_on_a_linear_loss_goes_down_the_gradient(method):
    total, slope = 0.0, flat(SLOPE) * batch().values["weight"].mean().item()
    for seed in range(400):
        params = {name: torch.nn.Parameter(torch.zeros_like(p)) for name, p in SLOPE.items()}
        estimator = made(method, params, seed=seed, **({"samples": 5} if method == "forward-gradient" else {}))
        step(estimator, linear_loss(params, SLOPE), batch())
        total = total - flat(params) / 400
    cosine = (total @ slope / (total.norm() * slope.norm())).item()
    assert cosine > 0.8  # √(nq / (nq + d)), n = 400, q directions each, d = 96; n · 2/π where only the sign counts
    if method in ("mezo-q5", "forward-gradient"):  # unbiased: along the gradient lr ± 4 standard errors
        multiple = (total @ slope / slope.square().sum()).item() / SETTINGS["lr"]
        assert multiple == pytest.approx(1, abs=4 * math.sqrt(2 / (400 * 5)))


@pytest.mark.parametrize(("method", "power"), [
    ("mezo-q2", 1), ("mezo-conservative", 1), ("forward-gradient", 1), ("mezo-momentum", 1), ("fzoo", 0), ("meazo", 0),
    ("mezo-sign", 0), ("mezo-sign-scalar", 0), ("mezo-adam", 0), ("radazo", 0), ("random-search", 0)])
def test_how_the_step_grows_with_the_loss(method, power):
    steps = []
    for scale in (1, 16):
        params = {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}
        estimator = made(method, params, lr=1e-7 if method == "mezo-conservative" else 1e-3, zeta=1e-30)
        for _ in range(2):
            # The slope stays what it is from update to update, so that moments see the same numbers but for the scale.
            step(estimator, linear_loss(params, {name: scale * p.detach() for name, p in SLOPE.items()}), batch())
        steps.append(flat(params) - flat(parameters()))
    assert torch.allclose(steps[1], 16**power * steps[0], rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize(("method", "readings"), [
    ("mezo-q2", 4), ("mezo-q5", 10), ("mezo-q10", 20), ("mezo-conservative", 5), ("mezo-sign-scalar", 2), ("meazo", 2),
    ("fzoo", 9), ("random-search", 9), ("mezo-momentum", 2), ("mezo-sign", 2), ("mezo-adam", 2), ("radazo", 2)])
def test_an_update_reads_what_its_method_says(method, readings):
    params = parameters()
    counted, row = Counted(bent(params)), get_method(method)
    made(method, params).step(counted, START)
    assert len(counted.readings) == readings == row.estimator.passes(row.resolved({}), True)


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_tells_nothing_moves_nothing(method):
    params = parameters()
    estimator = made(method, params)
    for _ in range(3):
        figures = step(estimator, lambda part: sum(p.sum() for p in params.values()) * 0.0 + 0.7 / 2, batch())
        assert all(map(math.isfinite, figures.values()))
    assert all(torch.equal(params[name], p) for name, p in parameters().items())


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_parameters(method):
    params = parameters()
    with pytest.raises(RunError, match="diverged"):
        step(made(method, params), lambda part: sum(p.sum() for p in params.values()) * math.nan, batch())
    assert all(torch.equal(params[name], p) for name, p in parameters().items())


@pytest.mark.parametrize("method", METHODS)
def test_an_estimator_that_is_taken_up_again_goes_on_bit_for_bit(method, tmp_path):
    whole, parts = parameters(), parameters()
    estimator = made(method, whole)
    for _ in range(6):
        step(estimator, bent(whole), batch())
    estimator = made(method, parts)
    for _ in range(3):
        step(estimator, bent(parts), batch())
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(estimator.state())
    estimator = made(method, parts)
    estimator.load_state(checkpoints.load(lambda text: None))
    for _ in range(3):
        step(estimator, bent(parts), batch())
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("method", METHODS)
def test_the_slope_does_not_depend_on_the_micro_batches(method):
    slopes = []
    for size in (1, 4, 100):
        params = {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}
        slopes.append(step(made(method, params), bent(params), batch(), size)["slope"])
    assert slopes[:2] == pytest.approx([slopes[2]] * 2, rel=1e-6)


def test_radazo_keeps_its_moments_in_float32_whatever_the_parameters(tmp_path):
    params = parameters(dtype=torch.bfloat16)
    estimator = made("radazo", params)
    step(estimator, bent(params), batch())
    again = made("radazo", params)
    again.load_state(estimator.state())
    moments = [moment for both in again.rule.moments.values() for moment in both]
    assert {moment.dtype for moment in moments} == {torch.float32} and params["a"].dtype == torch.bfloat16


def test_coordinate_signs_move_every_entry_by_lr_and_scalar_signs_move_along_z():
    for method in ("mezo-sign", "mezo-sign-scalar"):
        params = parameters()
        estimator = made(method, params, lr=0.01)
        estimator.direction.begin(0, START)
        z = flat({name: estimator.z(0, name) for name in params})
        step(estimator, bent(params), batch())
        moved = flat(params) - flat(parameters())
        expected = z.sign() if method == "mezo-sign" else z
        assert torch.allclose(moved.abs(), 0.01 * expected.abs(), atol=1e-6)
        assert abs(moved.sign() @ z.sign()) == len(z)


def test_rademacher_directions_are_signs_of_mean_zero():
    estimator = made("fzoo", {"a": torch.nn.Parameter(torch.zeros(100, 100))})
    z = estimator.z(3, "a")
    assert z.abs().eq(1).all() and abs(z.mean()) < 0.04 and not torch.equal(z, estimator.z(2, "a"))


@pytest.mark.parametrize("lr", [1e-3, 1.0, 1e3])
def test_a_conservative_update_never_raises_the_loss_of_its_batch(lr):
    params, kept = parameters(), set()
    estimator = made("mezo-conservative", params, lr=lr)
    for _ in range(10):
        before, here = flat(params), problem(bent(params), batch()).value()
        figures = step(estimator, bent(params), batch())
        kept.add(figures["kept"])
        assert problem(bent(params), batch()).value() <= here
        assert torch.equal(flat(params), before) == (figures["kept"] == 0) == (figures["step_norm"] == 0)
    assert kept == ({1.0} if lr == 1e-3 else {0.0} if lr == 1e3 else kept)


class Scripted(Counted):
    """Returns given losses, one after the other."""

    def __init__(self, *losses):
        super().__init__(None)
        object.__setattr__(self, "losses", iter(losses))

    def value(self):
        return next(self.losses)


@pytest.mark.parametrize(("tried", "kept"), [((2.0, 2.0, 2.0), 0), ((2.0, 1.0, 1.0), 1), ((2.0, 1.0, 0.5), -1)])
def test_of_equals_a_conservative_update_keeps_the_first(tried, kept):
    params, start = parameters(), flat(parameters())
    plain = parameters()
    made("mezo", plain).step(Scripted(1.0, 0.5), START)
    figures = made("mezo-conservative", params).step(Scripted(1.0, 0.5, *tried), START).figures
    assert figures["kept"] == kept and torch.allclose(flat(params) - start, kept * (flat(plain) - start), atol=1e-6)


def test_a_conservative_update_that_finds_no_number_leaves_the_parameters_as_they_were():
    params = parameters()
    with pytest.raises(RunError, match="diverged"):
        made("mezo-conservative", params).step(Scripted(1.0, 0.5, 1.0, math.nan, 1.0), START)
    assert torch.equal(flat(params), flat(parameters()))


def test_random_search_goes_to_the_best_of_its_points_if_it_is_better():
    params = parameters()
    estimator, counted = made("random-search", params, lr=1.0, epsilon=0.1), None
    for _ in range(5):
        estimator.direction.begin(estimator.updates, START)
        zs = [flat({name: estimator.z(sample, name) for name in params}) for sample in range(8)]
        before, counted = flat(params), Counted(bent(params))
        estimator.step(counted, START)
        best = min(range(9), key=counted.readings.__getitem__)
        expected = before + 0.1 * zs[best - 1] if best else before
        assert torch.allclose(flat(params), expected, atol=1e-6)
        assert problem(bent(params), batch()).value() == pytest.approx(counted.readings[best], rel=1e-4)


@pytest.mark.parametrize("method", ["mezo-momentum", "mezo-adam", "mezo-adam-dpo", "radazo"])
def test_moments_are_kept_over_iterations_unless_the_schedule_asks_for_new_ones(method):
    """As in the one optimiser of ZO-Bench's trainer."""
    def after(iterations, **values):
        params = parameters()
        estimator = made(method, params, **values)
        for iteration in range(iterations):
            estimator.begin_iteration(iteration, None)
            for _ in range(4 // iterations):
                step(estimator, bent(params), batch())
        return flat(params)

    assert torch.equal(after(1), after(2))
    renewed = {"schedule": "linear_iteration"}
    assert not torch.equal(after(1, **renewed), after(2, **renewed))

"""ConMeZO, HiZOO, block-wise and sparse MeZO against theory."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from baselines.contract import Progress
from baselines.registry import METHODS, get_method
from benchmark.core.errors import ConfigError, RunError
from tests.baselines.parts import START, make, step
from tests.baselines.test_estimators import batch, linear_loss, parameters
from tests.baselines.test_family_subspaces import Counted, bent_loss, copies, evaluated

FAMILY = ("conmezo", "hizoo", "block-mezo", "sparse-mezo")
LIVELY = {"conmezo": {"momentum": 0.5}, "hizoo": {"smoothing": 1e-2, "epsilon": 0.1}}  # so that a few updates show it


def built(method, params, seed=0, stream=False, **values):
    return make(method, params, seed, stream, **{**LIVELY.get(method, {}), **values})


def run(params, estimator, updates):
    return [step(estimator, bent_loss(params), batch()) for _ in range(updates)]


def whole(tensors):
    return torch.cat([part.detach().flatten().double() for part in tensors])


# --- what the family shares ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "values"), [
    ("conmezo", {"angle": math.pi / 2}), ("hizoo", {"smoothing": 0.0}), ("sparse-mezo", {"sparsity": 0.0})])
def test_the_method_reduces_to_mezo_bit_for_bit(method, values):
    ours, theirs = parameters(), parameters()
    settings = {"lr": 1e-2, "epsilon": 1e-2}
    reduced, mezo = built(method, ours, **{**values, **settings}), make("mezo", theirs, **settings)
    mine, other = run(ours, reduced, 5), run(theirs, mezo, 5)
    assert [row["slope"] for row in mine] == [row["slope"] for row in other]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("method", FAMILY)
def test_every_step_is_along_the_evaluated_direction(method):
    params = parameters()
    estimator = built(method, params, lr=1e-2)
    for _ in range(5):
        z, before = evaluated(estimator), copies(params)
        step(estimator, bent_loss(params), batch())
        for name, p in params.items():
            if z[0, name] is None:
                assert torch.equal(p, before[name])
                continue
            moved, along = (p - before[name]).detach().flatten(), z[0, name].flatten()
            if method == "hizoo":  # scaled anew, entry by entry: signs and support stay
                assert torch.equal(moved.sign().abs(), along.sign().abs())
                assert abs((moved.sign() * along.sign()).sum()) == len(along)
            else:
                assert abs(torch.cosine_similarity(moved, along, dim=0)) > 0.99999


@pytest.mark.parametrize("method", FAMILY)
@pytest.mark.parametrize("cut", [1, 3])
def test_a_resumed_run_continues_bit_for_bit(method, cut):
    straight, resumed = parameters(), parameters()
    run(straight, built(method, straight, lr=1e-1), 6)
    first = built(method, resumed, lr=1e-1)
    run(resumed, first, cut)
    second = built(method, resumed, stream=True, lr=1e-1)
    second.load_state(copy.deepcopy(first.state()))
    run(resumed, second, 6 - cut)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.mark.parametrize("method", FAMILY)
@pytest.mark.parametrize("size", [1, 4, 100])
def test_readings_are_as_many_as_are_charged_and_micro_batches_do_not_matter(method, size):
    results = []
    for limit in (size, 100):
        params = {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}
        counted = Counted(bent_loss(params), batch(), limit)
        results.append(built(method, params, lr=1e-3).step(counted, START).row())
    row = get_method(method)
    assert counted.readings == row.estimator.passes(row.resolved({}), False) == (3 if method == "hizoo" else 2)
    assert results[0]["slope"] == pytest.approx(results[1]["slope"])


@pytest.mark.parametrize("method", FAMILY)
def test_a_steeper_loss_makes_the_first_step_longer_by_as_much(method):
    steps = []
    for scale in (1.0, 8.0):
        params = {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}
        before = copies(params)
        values = {"smoothing": 0.0} if method == "hizoo" else {}  # h is a Hessian's, which grows with the loss
        step(built(method, params, **{"lr": 1e-2, **values}), bent_loss(params, scale), batch())
        steps.append(whole(p - before[name] for name, p in params.items()))
    assert torch.allclose(steps[1], 8 * steps[0], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("method", FAMILY)
def test_equal_losses_move_nothing_and_spoil_nothing(method):
    params = parameters()
    before, estimator = copies(params), built(method, params, lr=1.0)
    for _ in range(3):
        assert step(estimator, lambda part: torch.ones(()), batch())["slope"] == 0
    assert all(torch.equal(before[name], p) for name, p in params.items())
    assert all(math.isfinite(row["slope"]) and row["slope"] != 0 for row in run(params, estimator, 2))


def test_on_a_linear_loss_the_mean_step_is_the_gradient_and_of_blocks_that_of_the_block():
    slope = parameters(3)
    for method in FAMILY:
        along = {"a": [], "b": []}
        for seed in range(300):
            params = {name: torch.nn.Parameter(torch.zeros_like(p, dtype=torch.float64)) for name, p in slope.items()}
            values = {"sparsity": 0.0} if method == "sparse-mezo" else {"smoothing": 0.0} if method == "hizoo" else {}
            step(built(method, params, seed, **{"lr": 1.0, **values}), linear_loss(params, slope), batch(1), 100)
            for name, p in params.items():
                along[name].append(-(p * slope[name]).sum().item() / slope[name].square().sum().item())
        for name, values in along.items():
            expected = 0.0 if (method, name) == ("block-mezo", "b") else 1.0
            error = torch.tensor(values).std().item() / len(values)**0.5
            assert error < 0.2 and abs(sum(values) / len(values) - expected) <= 4 * error, (method, name)


@pytest.mark.parametrize("method", ["conmezo", "hizoo"])
def test_under_bfloat16_the_state_is_float32(method):
    params = parameters(dtype=torch.bfloat16)
    estimator = built(method, params, lr=1e-2)
    for updates in (0, 3):
        run(params, estimator, updates)
        (state,) = estimator.direction.state().values()
        assert all(part.dtype is torch.float32 for part in state.values())
    assert len(state) == 2
    assert all(part.dtype is torch.bfloat16 for part in evaluated(estimator).values())


# --- ConMeZO ------------------------------------------------------------------------------------------------------


def test_directions_lie_on_the_cone_and_are_as_long_as_mezos():
    """cos(z, m) = cos(angle) and ‖z‖²/d = 1, within four times 1/√d of all tensors together."""
    params = {"a": torch.nn.Parameter(torch.zeros(100, 60)), "b": torch.nn.Parameter(torch.zeros(4000))}
    for angle in (0.3, 1.35):
        estimator = make("conmezo", params, angle=angle)
        for name, p in params.items():
            estimator.direction.noted(name, torch.randn_like(p) * (3 if name == "a" else 0.5))
        z, m = whole(evaluated(estimator).values()), whole(estimator.direction.momentum.values())
        assert torch.dot(z, m) / (z.norm() * m.norm()) == pytest.approx(math.cos(angle), abs=4 / 100)
        assert z.square().sum().item() / 10_000 == pytest.approx(1, abs=4 * 2**0.5 / 100)


def test_an_angle_of_zero_searches_the_line_of_the_momentum():
    params = parameters()
    estimator = built("conmezo", params, lr=1e-2, angle=0.0)
    run(params, estimator, 2)
    z, m = whole(evaluated(estimator).values()), whole(estimator.direction.momentum.values())
    assert torch.allclose(z, 96**0.5 * m / m.norm(), atol=1e-5)


def test_the_sign_of_the_momentum_does_not_matter_to_a_line_search():
    """g z is even in z: with the momentum turned round, the same step."""
    results = []
    for sign in (1, -1):
        params = parameters()
        estimator = built("conmezo", params, lr=1e-2, angle=0.0)
        for name, p in params.items():
            estimator.direction.noted(name, sign * p.detach())
        run(params, estimator, 1)
        results.append(params)
    assert all(torch.allclose(results[0][name], results[1][name]) for name in results[0])


def test_the_momentum_averages_estimates():
    params = parameters()
    estimator, expected = built("conmezo", params, lr=1e-2, momentum=0.5, warm_up=0.0), torch.zeros(8, 4)
    for _ in range(3):
        z = evaluated(estimator)[0, "a"]
        expected = 0.5 * expected + 0.5 * run(params, estimator, 1)[0]["slope"] * z
        assert torch.allclose(estimator.direction.momentum["a"], expected, atol=1e-5)


def test_beta_waits_then_rises_to_its_value():
    """As in the released code at 0, 200, 1,100 and 2,000 of 20,000 updates."""
    estimator, betas = built("conmezo", parameters(), lr=0.0, momentum=0.99), []
    for share in (0.0, 0.01, 0.055, 0.0999999, 0.1, 1.0):
        betas.append(step(estimator, lambda part: torch.ones(()), batch(), progress=Progress(share, 0.0))["beta"])
    half = 0.99 - 0.89 / (1 + 8 * 0.5**1.8) ** 3
    assert betas == pytest.approx([0.1, 0.1, half, 0.99 - 0.89 / 9**3, 0.99, 0.99], abs=1e-5)


# --- HiZOO --------------------------------------------------------------------------------------------------------


def test_on_a_linear_loss_h_decays_exactly():
    params = {name: torch.nn.Parameter(torch.zeros_like(p, dtype=torch.float64)) for name, p in parameters().items()}
    estimator = built("hizoo", params, lr=0.0, smoothing=0.25, epsilon=1.0)
    for update in range(1, 5):
        figures = step(estimator, linear_loss(params, parameters(1)), batch(), 100)
        assert figures["h_change_mean"] == pytest.approx(1 - 0.75**update, rel=1e-5)
        assert figures["h_change_max"] == pytest.approx(1 - 0.75**update, rel=1e-5)


def test_h_finds_the_diagonal_of_a_hessian_up_to_a_constant():
    """L = ½ Σ c θ²: D/ε² is Σ c u², and the mean of D u²/(2ε²) is (Σ c)/2 + c, within 4 standard errors."""
    diagonal = torch.linspace(1.0, 30.0, 6)
    params = {"a": torch.nn.Parameter(torch.zeros(6, dtype=torch.float64))}
    estimator = make("hizoo", params, lr=0.0, epsilon=1.0, smoothing=1e-6)
    found = []
    for _ in range(3000):
        step(estimator, lambda part: 0.5 * (diagonal * params["a"] ** 2).sum(), batch(1), 100)
        before, estimator.direction.h["a"] = estimator.direction.h["a"], torch.ones(6)
        found.append((before.double() - (1 - 1e-6)) / 1e-6)
    found = torch.stack(found)
    error = found.std(0) / len(found)**0.5
    assert ((found.mean(0) - (diagonal.sum() / 2 + diagonal)).abs() < 4 * error + 1).all()


def test_readings_are_taken_with_the_old_h_and_the_step_is_made_with_the_new_one():
    params = {"a": torch.nn.Parameter(torch.ones(5, dtype=torch.float64))}
    estimator = make("hizoo", params, lr=0.1, epsilon=0.5, smoothing=0.3)
    estimator.direction.h["a"] = h = torch.linspace(0.5, 2.0, 5)
    u = estimator._noise(0, "a")()

    def at(theta):
        return (theta**4).sum().item()

    here = torch.ones(5, dtype=torch.float64)
    plus, minus = at(here + 0.5 * u / h.sqrt()), at(here - 0.5 * u / h.sqrt())
    new = 0.7 * h + 0.3 * abs(plus + minus - 2 * at(here)) / (2 * 0.25) * h * u**2
    step(estimator, lambda part: (params["a"] ** 4).sum(), batch(1), 100)
    assert torch.allclose(estimator.direction.h["a"].double(), new, rtol=1e-5)
    assert torch.allclose(params["a"], here - 0.1 * (plus - minus) * u / new.sqrt(), rtol=1e-5)


def test_a_loss_that_is_not_finite_at_theta_alone_stops_the_run():
    params, calls = parameters(), []

    def loss(part):
        calls.append(1)
        return torch.tensor(float("nan") if len(calls) == 3 else 1.0)

    with pytest.raises(RunError, match="diverged"):
        step(built("hizoo", params), loss, batch(), 100)


# --- blocks and small weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("block", "expected"), [
    ("tensor", [{"embed"}, {"layers.1.q"}, {"layers.1.k"}, {"layers.10.q"}, {"norm"}, {"embed"}]),
    ("layer", [{"embed"}, {"layers.1.q", "layers.1.k"}, {"layers.10.q"}, {"norm"}, {"embed"}])])
def test_blocks_come_in_turn_and_the_rest_stays(block, expected):
    names = ("embed", "layers.1.q", "layers.1.k", "layers.10.q", "norm")
    params = {f"model.{name}.weight": torch.nn.Parameter(torch.ones(3)) for name in names}
    estimator = make("block-mezo", params, lr=1e-2, block=block)
    for moved in expected:
        before = copies(params)
        step(estimator, lambda part: sum(p.sin().sum() for p in params.values()), batch(1), 100)
        assert {name for name in params if not torch.equal(params[name], before[name])} == {
            f"model.{name}.weight" for name in moved}


def test_the_small_weights_of_the_start_are_moved_and_nothing_else():
    params = {"a": torch.nn.Parameter(torch.tensor([[0.1, -5.0, 3.0, -0.2], [7.0, 0.3, -9.0, 4.0]])),
              "b": torch.nn.Parameter(torch.tensor([100.0, -1.0, 50.0, 2.0]))}
    estimator = make("sparse-mezo", params, lr=1e-3, sparsity=0.625)
    before = copies(params)
    step(estimator, lambda part: sum(p.sin().sum() for p in params.values()), batch(1), 100)
    assert (params["a"] != before["a"]).tolist() == [[True, False, False, True], [False, True, False, False]]
    assert (params["b"] != before["b"]).tolist() == [False, True, False, True]
    with torch.no_grad():
        params["b"][1] = 3.0  # has grown beyond the threshold of the start, 2
    assert evaluated(estimator)[0, "b"].ne(0).tolist() == [False, False, False, True]


def test_sparse_mezo_refuses_an_adapter_and_says_why():
    adapter = {"model.layers.0.q_proj.lora_A.weight": torch.nn.Parameter(torch.zeros(2, 8))}
    with pytest.raises(ConfigError, match=r"lora_A.* starts at random, the other at zero.*adapter.kind=full"):
        make("sparse-mezo", adapter)


# --- rows ---------------------------------------------------------------------------------------------------------


def test_a_warm_variant_is_its_method_after_zopros_warm_start():
    warm = [method for method in METHODS.values() if method.group == "zo-warm"]
    assert {"lozo-warm", "hizoo-warm", "subzero-warm", "conmezo-warm", "zo-muon-warm"} <= {m.name for m in warm}
    overrides = {"mezo": {"lr": 3.0, "kl_coef": 0.5}, "zopro": {"k": 8, "warm_start_lr": 7.0}}
    for method in warm:
        own = method.name.removesuffix("-warm")
        ours = method.resolved({**overrides, own: {"epsilon": 5.0}})
        theirs = get_method(own).resolved({**overrides, own: {"epsilon": 5.0}})
        begun = get_method("zopro").resolved(overrides)
        assert (ours["k"], ours["kl_coef"], ours["warm_start_lr"]) == (8, begun["kl_coef"], 7.0)  # both begin alike
        assert ours["warm_start_schedule"] == begun["schedule"]
        assert (ours["epsilon"], ours["lr"]) == (5.0, theirs["lr"])
        assert all(ours[name] == theirs[name] for name in method.estimator.settings()[2].__dataclass_fields__)
        assert method.warm_start == 1 and method.estimator == get_method(own).estimator

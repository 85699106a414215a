"""What LOZO, SubZero and ZO-Muon share, and LOZO itself, against theory."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from baselines.registry import get_method
from tests.baselines.parts import START, make, problem, step
from tests.baselines.test_estimators import batch, linear_loss, parameters

LOZO, SUBZERO, MUON = ("lozo", "lozo-m"), ("subzero", "subzero-plus"), ("zo-muon", "subspace-mezo")
SMALL = {"subspace_rank": 2, "window": 3}
FEW = {"subzero-plus": {"samples": 5}}


def built(method, params, seed=0, stream=False, **values):
    return make(method, params, seed, stream, **SMALL, **FEW.get(method, {}), **values)


def bent_loss(params, scale=1.0):
    """L = scale · Σ sin(c θ), additive over micro-batches."""
    slope = parameters(5)

    def loss(part):
        value = sum(torch.sin(slope[name].to(p.dtype) * p).sum() for name, p in params.items())
        return scale * value * len(part.values["weight"]) / part.rows
    return loss


class Counted:
    """A problem that counts its readings."""

    sampled = False

    def __init__(self, loss, whole, size=4):
        self.inner, self.readings = problem(loss, whole, size), 0

    def value(self):
        self.readings += 1
        return self.inner.value()


def evaluated(estimator):
    """Every z of the next update, (sample, name) → z."""
    estimator.direction.begin(estimator.updates, START)
    samples = sorted({sample for sample, _ in estimator.probe.points()})
    return {(sample, name): estimator.z(sample, name) for sample in samples for name in estimator.parameters}


def copies(params):
    return {name: p.detach().clone() for name, p in params.items()}


# --- what the family shares ---------------------------------------------------------------------------------------

FAMILY = (*LOZO, *SUBZERO, *MUON)


def inside(step, zs, side):
    """Whether the columns (side 0) or rows (side 1) of a step are combinations of those of ``zs``, of which there are
    fewer than there could be."""
    u, s, _ = torch.linalg.svd(torch.cat([z if side == 0 else z.T for z in zs], 1).double(), full_matrices=False)
    basis, step = u[:, s > 1e-5 * s[0]], (step if side == 0 else step.T).double()
    fewer = basis.shape[1] == SMALL["subspace_rank"] < step.shape[0]
    return fewer and torch.allclose(basis @ (basis.T @ step), step, atol=1e-6)


@pytest.mark.parametrize("method", FAMILY)
def test_every_step_lies_in_the_subspace_of_the_evaluated_directions(method):
    """In the updates that change the subspace too; with one z and SGD, along that z."""
    params = parameters()
    estimator = built(method, params, lr=1e-2)
    for _ in range(7):
        z, before = evaluated(estimator), copies(params)
        step(estimator, bent_loss(params), batch())
        for name, p in params.items():
            moved, zs = (p - before[name]).detach(), [z[key] for key in z if key[1] == name]
            assert moved.norm() > 0
            if method in ("lozo", "subzero", "subspace-mezo"):
                assert abs(torch.cosine_similarity(moved.flatten(), zs[0].flatten(), dim=0)) > 0.99999
            assert method in LOZO or inside(moved, zs, 0)
            assert method in MUON or inside(moved, zs, 1)


def test_the_released_lozo_steps_along_another_direction_in_the_first_update_of_a_window():
    params, cosines = parameters(), []
    estimator = built("lozo-released", params, lr=1e-2)
    for _ in range(6):
        z, before = evaluated(estimator), copies(params)
        step(estimator, bent_loss(params), batch())
        moved = (params["a"] - before["a"]).detach()
        assert inside(moved, [z[0, "a"]], 1)  # V is the evaluated one
        cosines.append(abs(torch.cosine_similarity(moved.flatten(), z[0, "a"].flatten(), dim=0).item()))
    assert [cosine > 0.999 for cosine in cosines] == [False, True, True, False, True, True]


@pytest.mark.parametrize("method", FAMILY)
@pytest.mark.parametrize("cut", [2, 3, 4])  # before a change of the subspace, at it, after it
def test_a_run_resumed_in_a_window_continues_bit_for_bit(method, cut):
    def run(params, estimator, updates):
        for _ in range(updates):
            step(estimator, bent_loss(params), batch())

    straight, resumed = parameters(), parameters()
    run(straight, built(method, straight, lr=1e-2), 7)
    first = built(method, resumed, lr=1e-2)
    run(resumed, first, cut)
    second = built(method, resumed, stream=True, lr=1e-2)
    second.load_state(copy.deepcopy(first.state()))
    run(resumed, second, 7 - cut)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.mark.parametrize(("method", "power"), [(m, 0 if m in ("zo-muon", "subzero-plus") else 1) for m in FAMILY])
def test_a_steeper_loss_makes_the_step_longer_as_the_method_says(method, power):
    """By c of c·L, or not at all where the estimate is normalised."""
    steps = []
    for scale in (1.0, 8.0):
        params = {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}
        before = copies(params)
        step(built(method, params, lr=1e-2), bent_loss(params, scale), batch())
        steps.append(torch.cat([(p - before[name]).flatten() for name, p in params.items()]))
    assert torch.allclose(steps[1], 8.0**power * steps[0], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("method", FAMILY)
@pytest.mark.parametrize("size", [1, 4, 100])
def test_readings_are_as_many_as_are_charged_and_micro_batches_do_not_matter(method, size):
    params = {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}
    whole, estimator = Counted(bent_loss(params), batch(), size), built(method, params, lr=1e-3)
    figures = estimator.step(whole, START).row()
    row = get_method(method)
    assert whole.readings == row.estimator.passes(row.resolved({method: FEW.get(method, {})}), False)
    alone = {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}
    assert figures["slope"] == pytest.approx(step(built(method, alone), bent_loss(alone), batch(), 100)["slope"])


@pytest.mark.parametrize("method", FAMILY)
def test_equal_losses_move_nothing(method):
    params = parameters()
    before = copies(params)
    for _ in range(2):
        assert step(built(method, params, lr=1.0), lambda part: torch.ones(()), batch())["slope"] == 0
    assert all(torch.equal(before[name], p) for name, p in params.items())


@pytest.mark.parametrize(("method", "multiple"), [
    ("lozo", 1), ("lozo-m", 1), ("subzero", 1), ("subspace-mezo", {"a": 2 / 8, "b": 2 / 4})])
def test_on_a_linear_loss_the_mean_step_is_the_stated_multiple_of_the_gradient(method, multiple):
    """Over many seeds, within 4 standard errors of the mean along the gradient: 1, and r/m of ZO-Muon's subspace."""
    slope = parameters(3)
    size = sum(c.square().sum().item() for c in slope.values())
    along = {"a": [], "b": []}
    for seed in range(500):
        params = {name: torch.nn.Parameter(torch.zeros_like(p, dtype=torch.float64)) for name, p in slope.items()}
        step(built(method, params, seed, lr=1.0, epsilon=1.0), linear_loss(params, slope), batch(1), 100)
        for name, p in params.items():
            along[name].append(-(p * slope[name]).sum().item() / slope[name].square().sum().item())
    for name, values in along.items():
        error = torch.tensor(values).std().item() / len(values)**0.5
        assert error < 0.2 and size > 0
        expected = multiple if isinstance(multiple, int) else multiple[name]
        assert abs(sum(values) / len(values) - expected) < 4 * error


@pytest.mark.parametrize("method", FAMILY)
def test_under_bfloat16_the_coordinates_and_what_is_remembered_are_float32(method):
    params = parameters(dtype=torch.bfloat16)
    estimator = built(method, params, lr=1e-2)
    for _ in range(4):
        z = evaluated(estimator)
        assert all(part.dtype is torch.bfloat16 for part in z.values())
        assert math.isfinite(step(estimator, bent_loss(params), batch())["loss"])
    assert all(p.dtype is torch.bfloat16 for p in params.values())
    moments = [value for state in getattr(estimator.rule, "optimizer", torch.optim.SGD(list(params.values()))).state
               .values() for value in state.values() if torch.is_tensor(value)]
    assert all(moment.dtype is torch.float32 for moment in moments)
    assert bool(moments) == (method in ("lozo-m", "subzero-plus"))


def test_vectors_are_searched_as_they_are():
    """LOZO's and SubZero's vectors get MeZO's bits; ZO-Muon's a step of length lr."""
    for method in ("lozo", "subzero"):
        ours, theirs = ({"norm": torch.nn.Parameter(torch.arange(6.0))} for _ in range(2))
        estimators = built(method, ours, lr=0.5, epsilon=1e-2), make("mezo", theirs, lr=0.5)
        for params, estimator in zip((ours, theirs), estimators, strict=True):
            step(estimator, lambda part, params=params: params["norm"].sin().sum(), batch())
        assert torch.equal(ours["norm"], theirs["norm"])
    params = {"norm": torch.nn.Parameter(torch.arange(6.0))}
    step(built("zo-muon", params, lr=0.5), lambda part: params["norm"].sin().sum(), batch())
    assert 0.5 * 0.68 < (params["norm"] - torch.arange(6.0)).norm().item() < 0.5 * 1.21


# --- LOZO ---------------------------------------------------------------------------------------------------------


def test_lozo_directions_have_their_rank_and_share_v_in_a_window():
    estimator = built("lozo", parameters(), lr=0.0)
    rows = []
    for update in range(6):
        estimator.updates = update
        z = evaluated(estimator)[0, "a"]
        assert torch.linalg.matrix_rank(z) == 2
        rows.append(z)
    assert all(inside(rows[update], [rows[update - update % 3]], 1) for update in range(6))
    assert not inside(rows[3], [rows[0]], 1)


def test_lozo_m_without_momentum_is_lozo_bit_for_bit():
    ours, theirs = parameters(), parameters()
    with_none, lozo = built("lozo-m", ours, lr=1e-2, momentum=0.0), built("lozo", theirs, lr=1e-2)
    for _ in range(7):
        assert step(with_none, bent_loss(ours), batch()) == step(lozo, bent_loss(theirs), batch())
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_lozo_m_averages_estimates_and_begins_with_the_first():
    """N = gU / r, then 0.9 N + 0.1 gU / r, and the step is −lr N Vᵀ."""
    params = {"a": torch.nn.Parameter(parameters()["a"].detach().double())}
    estimator, expected = built("lozo-m", params, lr=1e-2), None
    for update in range(3):
        z, before = evaluated(estimator)[0, "a"], copies(params)["a"]
        part = step(estimator, lambda part: torch.sin(params["a"]).sum(), batch(), 100)["slope"] * z / 2
        expected = part if not update else 0.9 * expected + 0.1 * part
        assert torch.allclose(params["a"], before - 1e-2 * expected)


def test_lozo_m_keeps_a_share_of_what_it_remembers_when_v_changes():
    """Mean over V_new of (N V_oldᵀ V_new / n) V_newᵀ is r/n N V_oldᵀ, within 4 standard errors of every entry."""
    theta, drawn, kept = torch.zeros(3, 5, dtype=torch.float64), [], parameters()["a"].detach()[:3, :2].double()
    for seed in range(1000):
        params = {"a": torch.nn.Parameter(theta.clone())}
        direction = (estimator := built("lozo-m", params, seed)).direction
        direction.begin(3, START)
        assert direction.renewed
        noise = estimator._noise(0, "a")
        direction.coordinates("a", theta, noise)
        old = direction.bases((3, 5), noise, 0)[1]
        carried = direction.lift("a", theta, direction.carried("a", theta, noise, kept))
        drawn.append(carried @ torch.linalg.pinv(old.mT))  # back to coordinates of V_old, for all seeds alike
    drawn = torch.stack(drawn)
    error = drawn.std(0) / len(drawn)**0.5
    assert ((drawn.mean(0) - 2 / 5 * kept).abs() < 4 * error).all() and error.max() < 0.1

"""ComPO: what the comparison oracle learns, and which pairs it is asked about."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from baselines.registry import get_method
from benchmark.core.errors import ConfigError, RunError
from benchmark.core.meter import Meter
from benchmark.run.loop import execute
from benchmark.run.participants import Participants
from benchmark.run.problem import BatchProblem
from benchmark.run.store import RunStore
from tests.baselines.parts import START, make


def linear(a, b, params):
    """Log-probabilities of one pair, linear in θ; counts its readings."""
    def compared():
        problem.readings += 1
        values = [sum((slope[name] * p).sum() for name, p in params.items()) for slope in (a, b)]
        return torch.stack(values).view(1, 2)

    problem = SimpleNamespace(compared=compared, readings=0)
    return problem


def tensors(seed, dtype=torch.float64):
    stream = torch.Generator().manual_seed(seed)
    return {"a": torch.randn(8, 4, generator=stream, dtype=torch.float64).to(dtype),
            "b": torch.randn(20, generator=stream, dtype=torch.float64).to(dtype)}


def parameters(dtype=torch.float64):
    return {name: torch.nn.Parameter(value) for name, value in tensors(0, dtype).items()}


def flat(values):
    return torch.cat([value.detach().double().flatten() for value in values.values()])


def made(params, **values):
    plain = {"lr": 0.1, "samples": 64, "least": 0.0, "threshold": 0.0, "trial": 0.0}
    return make("compo", params, **plain | values)


def updated(estimator, problem):
    before = flat(estimator.parameters)
    update = estimator.step(problem, START)
    return flat(estimator.parameters) - before, update


@pytest.mark.parametrize(("other", "share"), [("orthogonal", 0.25), ("opposite", 0.5), ("same", 0.0)])
def test_the_share_that_helps_is_the_angle_over_two_pi(other, share):
    params, a, b = parameters(), tensors(1), tensors(2)
    if other == "orthogonal":
        along = flat(a) @ flat(b) / (flat(a) @ flat(a))
        b = {name: value - along * a[name] for name, value in b.items()}
    else:
        b = {name: (2 if other == "same" else -2) * value for name, value in a.items()}
    _, update = updated(made(params, samples=2000), linear(a, b, params))
    assert update.figures["better"] == pytest.approx(share, abs=4 * math.sqrt(0.25 / 2000))


@pytest.mark.parametrize("centred", [False, True])
def test_the_step_is_along_the_normalised_margin_and_turns_with_the_pair(centred):
    a, b = tensors(1), {name: 5 * value for name, value in tensors(2).items()}
    margin, steps = flat(a) / flat(a).norm() - flat(b) / flat(b).norm(), []
    for one, two in ((a, b), (b, a)):
        params = parameters()
        step, update = updated(made(params, samples=2000, centred=centred), linear(one, two, params))
        steps.append(step)
        assert step.norm().item() == pytest.approx(0.1 * update.figures["better"], rel=1e-5)
        assert update.figures["step_norm"] == pytest.approx(step.norm().item(), rel=1e-5)
    for step, wanted in zip(steps, (margin, -margin), strict=True):
        assert torch.cosine_similarity(step, wanted, 0) > (0.95 if centred else 0.9)


def test_the_step_is_the_signed_sum_of_the_evaluated_perturbations():
    params, a, b = parameters(), tensors(1), tensors(2)
    estimator, problem = made(params), linear(tensors(1), tensors(2), params)
    for _ in range(3):
        z = [torch.cat([estimator.z(i, name).flatten() for name in params]) for i in range(64)]
        signs = [-1 if flat(a) @ move > 0 > flat(b) @ move else 1 for move in z]
        total = sum(sign * move for sign, move in zip(signs, z, strict=True))
        step, _ = updated(estimator, problem)
        assert torch.allclose(step, -0.1 * signs.count(-1) / 64 * total / total.norm(), atol=1e-7)


def test_centring_takes_the_mean_off_and_a_threshold_the_small_entries():
    a, b, steps = tensors(1), tensors(2), {}
    for key, values in {"plain": {}, "sparse": {"threshold": 1.0}, "centred": {"centred": True}}.items():
        params = parameters()
        steps[key], _ = updated(made(params, **values), linear(a, b, params))
    dense, sparse = steps["plain"], steps["sparse"]
    least = dense.norm() / math.sqrt(len(dense))
    assert torch.allclose(sparse, dense * (dense.abs() >= least), atol=1e-9)
    assert 0 < sparse.count_nonzero() < len(sparse) / 2
    z = torch.stack([torch.cat([made(parameters()).z(i, name).flatten() for name in ("a", "b")]) for i in range(64)])
    signs = torch.tensor([-1.0 if flat(a) @ move > 0 > flat(b) @ move else 1.0 for move in z]).double()
    wanted = -(signs - signs.mean()) @ z
    assert torch.cosine_similarity(steps["centred"], wanted, 0) > 1 - 1e-9
    assert torch.cosine_similarity(dense, wanted, 0) < 0.99


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_only_the_order_matters(scale):
    params = parameters()
    a, b = ({name: scale * value for name, value in tensors(seed).items()} for seed in (1, 2))
    step, _ = updated(made(params), linear(a, b, params))
    other = parameters()
    assert torch.equal(step, updated(made(other), linear(tensors(1), tensors(2), other))[0])


@pytest.mark.parametrize("why", ["none helps", "too few help", "the trial fails", "ties"])
def test_no_update_is_made_where_nothing_is_learned(why):
    params, a, b = parameters(), tensors(1), tensors(2)
    values = {"least": 0.9} if why == "too few help" else {}
    if why == "none helps":
        b = {name: 2 * value for name, value in a.items()}
    if why == "ties":
        a = b = {name: torch.zeros_like(value) for name, value in a.items()}
    problem = linear(a, b, params)
    if why == "the trial fails":
        values, compared = {"trial": 1.0}, problem.compared
        problem.compared = lambda: compared() if problem.readings < 65 else compared() - 1e6
    step, update = updated(made(params, **values), problem)
    assert step.norm() == 0 == update.figures["step_norm"]
    assert all(math.isfinite(value) for value in update.row().values())


def test_readings_are_as_many_as_the_method_says_and_theta_is_put_back():
    for values in ({"trial": 0.0}, {"trial": 0.1}):
        params = parameters()
        problem, row = linear(tensors(1), tensors(2), params), get_method("compo")
        before = flat(params)
        made(params, lr=0.0, **values).step(problem, START)
        settings = row.resolved({"compo": {"samples": 64, **values}})
        assert problem.readings == row.estimator.passes(settings, False) == 65 + (values["trial"] > 0)
        assert torch.equal(flat(params), before)


def test_a_comparison_goes_on_after_a_resume_and_adds_up_in_float32():
    ours, theirs = parameters(torch.bfloat16), parameters(torch.bfloat16)
    whole, half = made(ours, epsilon=0.5), made(theirs, epsilon=0.5)
    a, b = (tensors(seed, torch.bfloat16) for seed in (1, 2))
    for estimator, params in ((whole, ours), (half, theirs)):
        estimator.step(linear(a, b, params), START)
    assert half._direction({0: 1.0, 1: 1e-4}, half.z)[0]["a"].dtype == torch.bfloat16
    again = made(theirs, epsilon=0.5)
    again.load_state(half.state())
    for estimator, params in ((whole, ours), (again, theirs)):
        estimator.step(linear(a, b, params), START)
    assert torch.equal(flat(ours), flat(theirs))
    one, many = half._direction({0: 1.0}, half.z)[0], half._direction(dict.fromkeys(range(64), 1.0), half.z)[0]
    exact = torch.stack([half.z(i, "a").double() for i in range(64)]).sum(0)
    assert torch.cosine_similarity(many["a"].double().flatten(), exact.flatten(), 0) > 1 - 1e-5
    assert not torch.equal(one["a"], many["a"])


def test_log_probabilities_that_are_not_finite_stop_the_run():
    problem = SimpleNamespace(compared=lambda: torch.tensor([[math.nan, 0.0]]))
    with pytest.raises(RunError, match="diverged"):
        made(parameters()).step(problem, START)


def test_clean_pairs_come_in_the_warm_start_and_noisy_ones_after_it(prepared, make_run):
    who = Participants(make_run("compo"), prepared, Meter())
    objective, margins = who.objective, {}
    with who.policy.reference():
        for row in range(len(objective.context.pairs)):
            chosen, rejected = objective.compared(objective.batch_of([row]))[0].tolist()
            margins[row] = abs(chosen - rejected)
    middle = sorted(margins.values())[len(margins) // 2]
    who = Participants(make_run("compo", f"compo.margin={middle}"), prepared, Meter())
    for warm, rows in ((True, 4), (False, 1)):
        who.new_estimator(warm)
        for _ in range(5):
            batch = who.objective.collect()
            a, b = batch.values["reference_chosen"], batch.values["reference_rejected"]
            assert len(batch) == rows and (((a - b).abs() > middle - 1e-4) if warm else
                                           ((a - b).abs() <= middle + 1e-4)).all()


@pytest.mark.parametrize(("margin", "warm", "remedy"), [(1e9, True, "Lower"), (0.0, False, "Raise")])
def test_pairs_that_are_all_of_one_kind_are_an_error_with_a_remedy(margin, warm, remedy, prepared, make_run):
    who = Participants(make_run("compo", f"compo.margin={margin}"), prepared, Meter())
    who.objective.warm = warm
    with pytest.raises(ConfigError, match=f"{remedy} it"):
        who.objective.collect()


def test_a_run_moves_by_backpropagation_first_and_by_comparisons_then(prepared, make_run, tmp_path):
    store = RunStore(tmp_path / "compo")
    assignments = [f"compo.{key}" for key in ("samples=300", "least=0.0", "threshold=0.0", "trial=0.0", "lr=1.0",
                                              "epsilon=0.01", "margin=6.0")]
    summary = execute(make_run("compo", *assignments), prepared, store, lambda state: None)
    rows = store.rows("updates.jsonl")
    assert summary["status"] == "done" and ["gradient_norm" in row for row in rows] == [True, True, False, False]
    assert any(row.get("step_norm", 0) > 0 for row in rows) and summary["health"] is None


def test_an_objective_without_pairs_cannot_be_compared(prepared, make_run):
    who = Participants(make_run("mezo"), prepared, Meter())
    with pytest.raises(ConfigError, match="no pairs"):
        BatchProblem(who.objective, who.objective.collect(), 4).compared()

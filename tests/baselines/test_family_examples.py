"""A direction for every example (GRZO) against theory."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from baselines.contract import Noise
from baselines.estimators.directions.factors import SignFactors
from baselines.estimators.perturbation import NotTogether, PerturbedEach
from baselines.noise import Factors
from benchmark.core.meter import Meter
from benchmark.core.sections import Adapter
from benchmark.run.participants import Participants
from benchmark.run.prepared import Prepared
from benchmark.run.problem import BatchProblem
from tests.baselines.parts import START, make, step
from tests.baselines.test_estimators import batch, linear_loss, parameters

ROWS = 6


def bent(params):
    """A loss that is another function of θ for every row, additive over micro-batches."""
    def loss(part):
        rows = part.values["weight"]
        return sum(((p.sum() * row / 10).sin() + (p * row).square().mean()) for row in rows for p in params.values()) \
            / part.rows
    return loss


def doubled():
    return {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}


def directions(estimator, params):
    return [{name: estimator.z(example, name) for name in params} for example in range(ROWS)]


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_the_step_is_made_of_every_examples_own_difference(centred, size):
    params = doubled()
    estimator = make("grzo", params, lr=0.1, epsilon=1e-2, centred=centred)
    for _ in range(3):
        z, before = directions(estimator, params), {name: p.detach().clone() for name, p in params.items()}
        loss, rows = bent(params), list(batch(ROWS).split(1))
        deltas = []
        for move, row in zip(z, rows, strict=True):
            sides = []
            for sign in (1, -1):
                for name, p in params.items():
                    p.data = before[name] + sign * 1e-2 * move[name]
                sides.append(loss(row).item())
            deltas.append(sides[0] - sides[1])
        for name, p in params.items():
            p.data = before[name].clone()
        deltas = torch.tensor(deltas, dtype=torch.float64)
        figures = step(estimator, loss, batch(ROWS), size=size)
        weights = (deltas - (deltas.mean() if centred else 0)) / deltas.std(correction=0) / (2 * 1e-2 * ROWS)
        for name, p in params.items():
            expected = sum(w * move[name] for w, move in zip(weights, z, strict=True))
            assert torch.allclose(p.detach() - before[name], -0.1 * expected, rtol=1e-6)
        assert figures["difference"] == pytest.approx(deltas.sum().item())  # that of the batch: L₊ − L₋


def test_directions_are_gaussian_and_those_of_two_examples_are_not_correlated():
    theta, direction = torch.zeros(4, 3), SignFactors({}, None)
    draws = torch.stack([torch.stack([direction.z("w", theta, Noise(theta, "w", 0, update, example)).flatten()
                                      for example in range(3)]) for update in range(4000)])  # (updates, examples, 12)
    assert draws[:, 1].mean(0).abs().max() < 5 / math.sqrt(4000)
    within = draws[:, 1].T @ draws[:, 1] / 4000
    assert (within - torch.eye(12)).abs().max() < 5 * math.sqrt(2 / 4000)
    for a, b in ((0, 1), (1, 2)):
        assert (draws[:, a].T @ draws[:, b] / 4000).abs().max() < 5 * math.sqrt(3 / 4000)
    for update in range(3):  # within an update they differ in signs alone, and these have rank one
        ratio = (draws[update, 1] / draws[update, 2]).view(4, 3)
        assert torch.allclose(ratio.abs(), torch.ones(4, 3), atol=1e-5) and torch.linalg.matrix_rank(ratio) == 1


def test_without_signs_and_deviation_it_is_mezo_along_the_base(monkeypatch):
    monkeypatch.setattr(SignFactors, "_signs", lambda self, base, noise: [torch.ones(n) for n in base.shape])
    ours, theirs = doubled(), doubled()
    grzo, mezo = make("grzo", ours, lr=0.1, epsilon=1e-2), make("mezo", theirs, lr=0.1, epsilon=1e-2)
    monkeypatch.setattr(type(grzo.probe), "weights", lambda self, losses: {
        i: (losses[2 * i] - losses[2 * i + 1]) / (2 * self.epsilon) for i in range(len(losses) // 2)})
    mezo.direction.z = grzo.direction.z
    for _ in range(2):
        figures = [step(estimator, bent(params), batch(ROWS)) for estimator, params in ((grzo, ours), (mezo, theirs))]
        assert figures[0]["loss"] == pytest.approx(figures[1]["loss"])
        assert figures[0]["difference"] == pytest.approx(figures[1]["difference"])
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-9) for name in ours)


@pytest.mark.parametrize("loss", [lambda part: torch.tensor(1.0) * len(part) / part.rows,
                                  lambda part: torch.tensor(0.0)])
@pytest.mark.parametrize("rows", [1, ROWS])
def test_equal_differences_make_no_update(loss, rows):
    params = parameters()
    before = {name: p.detach().clone() for name, p in params.items()}
    figures = step(make("grzo", params, lr=0.1), loss, batch(rows))
    assert all(torch.equal(p, before[name]) for name, p in params.items())
    assert figures["step_norm"] == 0 and all(math.isfinite(value) for value in figures.values())


def test_the_step_does_not_depend_on_the_scale_of_the_loss():
    steps = []
    for scale in (1.0, 100.0):
        params = doubled()
        before = torch.cat([p.detach().flatten() for p in params.values()])
        step(make("grzo", params, lr=0.1), lambda part, p=params, s=scale: s * bent(p)(part), batch(ROWS))
        steps.append(torch.cat([p.detach().flatten() for p in params.values()]) - before)
    assert torch.allclose(steps[0], steps[1], rtol=1e-6) and steps[0].norm() > 0


def test_on_a_linear_loss_the_mean_step_is_along_the_gradient():
    params = {"a": torch.nn.Parameter(torch.zeros(3, 2).double())}
    slope = {"a": torch.tensor([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]]).double()}
    estimator = make("grzo", params, lr=1.0, epsilon=1.0)
    for _ in range(500):
        step(estimator, linear_loss(params, slope), batch(ROWS))
    mean = -params["a"].detach()
    assert torch.cosine_similarity(mean.flatten(), slope["a"].flatten(), 0) > 0.98


def test_every_example_is_read_twice_and_the_rest_not_at_all():
    count, params = 0, parameters()

    def loss(part):
        nonlocal count
        count += len(part)
        return bent(params)(part)

    estimator = make("grzo", params)
    step(estimator, loss, batch(ROWS))
    assert count == 2 * ROWS and estimator.probe.forwards == 2


def test_draws_are_the_same_when_made_anew_and_after_a_resume():
    ours, theirs = parameters(), parameters()
    whole, half = make("grzo", ours, lr=0.1), make("grzo", theirs, lr=0.1)
    step(whole, bent(ours), batch(ROWS))
    step(half, bent(theirs), batch(ROWS))
    again = make("grzo", theirs, stream=True, lr=0.1)
    again.load_state(half.state())
    step(whole, bent(ours), batch(ROWS))
    step(again, bent(theirs), batch(ROWS))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("method", ["mezo", "mezo-dpo", "online-dpo"])
def test_the_losses_of_the_examples_add_up_to_that_of_the_batch(method, prepared, make_run):
    who = Participants(make_run(method), prepared, Meter())
    whole = BatchProblem(who.objective, who.objective.collect(), 4)
    for parameter in who.policy.parameters.values():
        parameter.data.add_(0.02 * torch.randn_like(parameter))  # advantages alone add up to zero
    with torch.no_grad():
        parts = [part.value() for part in whole.each()]
        assert len(parts) == len(whole.batch) > 1 and len(set(parts)) > 1
        assert sum(parts) == pytest.approx(whole.value(), abs=1e-5)


def moved_a_little(who):
    for parameter in who.policy.parameters.values():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return who


@pytest.mark.parametrize("micro_batch", [3, 64])
@pytest.mark.parametrize("kind", ["norms", "lora"])
@pytest.mark.parametrize("method", ["grzo", "grzo-dpo"])
def test_all_examples_in_one_pass_say_what_they_say_one_by_one(method, kind, micro_batch, prepared, make_run):
    config = replace(make_run(method).config, adapter=Adapter(kind=kind))
    run = replace(make_run(method), config=config)
    who = moved_a_little(Participants(run, Prepared(prepared.folder, config, run.task), Meter()))
    problem = BatchProblem(who.objective, who.objective.collect(), micro_batch)
    values = who.method.resolved({method: {"epsilon": 0.05}})
    estimator, alone = (who.method.make_estimator(who.policy.parameters, values, 0) for _ in range(2))
    alone.together = False
    spent, losses = [], []
    for one in (estimator, alone):
        before = who.meter.spent()["forward_tokens"]
        losses.append(one.read(problem, START)[:2])
        spent.append(who.meter.spent()["forward_tokens"] - before)
    (read, weights), (expected, expected_weights) = losses
    assert estimator.together and spent[0] == pytest.approx(spent[1])
    assert read == pytest.approx(expected, abs=1e-5)
    assert len(weights) == len(problem.batch) and list(weights.values()) == pytest.approx(
        list(expected_weights.values()), rel=1e-2, abs=1e-2)


def test_a_single_row_is_the_first_examples():
    weight = torch.nn.Parameter(torch.randn(3, 2))
    factors = Factors(torch.randn(3, 2), torch.randn(4, 3), torch.randn(4, 2))
    x = torch.randn(8, 5, 2)
    with torch.no_grad(), PerturbedEach({"w": weight}, lambda name: factors, 0.5):
        once, twice, one = (torch.nn.functional.linear(part, weight) for part in (x[:4], x, x[:1]))
    for row in range(8):
        own = weight + 0.5 * factors.base * torch.outer(factors.rows[row % 4], factors.columns[row % 4])
        assert torch.allclose(twice[row], x[row] @ own.T, atol=1e-5)
    assert torch.allclose(once, twice[:4], atol=1e-6) and torch.allclose(one, twice[:1], atol=1e-6)


@pytest.mark.parametrize("use", [
    lambda w, x: torch.nn.functional.embedding(torch.tensor([[0, 1]]), w),
    lambda w, x: torch.nn.functional.linear(x[:3], w),  # of four examples
    lambda w, x: x[0] @ w.T,
])
def test_what_cannot_be_read_together_is_not(use):
    weight = torch.nn.Parameter(torch.randn(3, 2))
    factors = Factors(torch.randn(3, 2), torch.randn(4, 3), torch.randn(4, 2))
    with pytest.raises(NotTogether), PerturbedEach({"w": weight}, lambda name: factors, 0.5):
        use(weight, torch.randn(4, 5, 2))


def test_a_model_that_cannot_reads_one_by_one(prepared, make_run):
    config = replace(make_run("grzo").config, adapter=Adapter(kind="full"))  # embeddings are looked up
    run = replace(make_run("grzo"), config=config)
    who = Participants(run, Prepared(prepared.folder, config, run.task), Meter())
    estimator = who.method.make_estimator(who.policy.parameters, who.method.resolved({}), 0)
    losses, weights, _ = estimator.read(BatchProblem(who.objective, who.objective.collect(), 64), START)
    assert not estimator.together and len(losses) == 2 and len(weights) > 1

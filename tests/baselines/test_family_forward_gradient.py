"""The forward gradient: on losses and on a real policy, with what it is charged and what it cannot do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmark.core.errors import ConfigError
from benchmark.core.meter import Meter
from benchmark.run.participants import Participants
from benchmark.run.problem import BatchProblem
from tests.baselines.parts import START, problem, step
from tests.baselines.test_estimators import batch, parameters
from tests.baselines.test_family_probes import bent, made


def test_a_forward_gradient_is_the_slope_that_two_points_come_near_as_epsilon_falls():
    slopes = []
    for method, epsilon in (("forward-gradient", 0), ("mezo", 1e-1), ("mezo", 1e-3)):
        params = {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}

        def loss(part, params=params):
            return sum((p.sin() + p.exp() / 9).sum() for p in params.values()) * part.values["weight"].sum() / part.rows

        slopes.append(step(made(method, params, lr=0.0, epsilon=epsilon), loss, batch())["slope"])
    exact, far, near = slopes
    assert abs(near - exact) < 1e-3 * abs(far - exact) and near == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("settings", [(), ("adapter.kind=full",)])
@pytest.mark.parametrize("objective", ["", "-dpo"])
def test_on_a_policy_a_forward_gradient_is_the_backpropagated_one_along_z(objective, settings, prepared, make_run):
    meter, run = Meter(), make_run(f"forward-gradient{objective}", *settings)
    who = Participants(run, replace(prepared, config=run.config), meter)
    with meter.ledger("rollout"):
        collected = who.objective.collect()
    here, estimator = BatchProblem(who.objective, collected, 4), who.new_estimator(False)
    here.backward()
    z = {name: estimator.z(0, name) for name in estimator.parameters}
    expected = sum((p.grad * z[name]).sum().item() for name, p in estimator.parameters.items())
    with meter.ledger("log"), torch.no_grad():
        here.value()
    with meter.ledger("update"):
        update = estimator.step(here, START)
    assert update.figures["slope"] == pytest.approx(expected, rel=1e-3) and not update.readings
    passes = who.method.estimator.passes(who.values, bool(settings))
    assert meter.tokens["update"] == pytest.approx(passes * meter.tokens["log"], rel=1e-6 if settings else 0.1)


def test_a_forward_gradient_names_the_part_of_a_model_that_has_none():
    params = parameters()
    with pytest.raises(ConfigError, match="no forward-mode derivative.*_cdist_forward"):
        step(made("forward-gradient", params), lambda part: torch.cdist(params["a"] * 1, params["b"].T * 1).sum(),
             batch())


def test_a_loss_that_samples_has_no_forward_gradient():
    params = parameters()
    here = problem(bent(params), batch())
    here.objective.sampled = True
    with pytest.raises(ConfigError, match="a loss that samples has no derivative"):
        made("forward-gradient", params).step(here, START)

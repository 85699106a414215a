"""ZOPrO's variants: each is ZOPrO bit for bit where its change does not act, and does what its name says where it
does."""

from __future__ import annotations

import pytest
import torch

from baselines.registry import get_method
from benchmark.core.checkpoint import Checkpoints
from benchmark.core.meter import Meter
from benchmark.run.loop import RunInProgress
from benchmark.run.store import RunStore
from tests.baselines.parts import START, make, step
from tests.baselines.test_estimators import batch, linear_loss, parameters

SLOPE = parameters(1)
VARIANTS = ["zopro-last-update", "zopro-start-norm", "zopro-scaled-lr", "zopro-off-previous", "zopro-along-reward",
            "zopro-plus-reward"]


class Past:
    """Updates of iterations: of the policy as given, of the reward model always the same."""

    def __init__(self, *sizes):
        noise = [parameters(10 + number) for number in range(len(sizes))]
        self.policy = [{name: size * p.detach() for name, p in made.items()}
                       for size, made in zip(sizes, noise, strict=True)]
        self.reward = {name: p.detach() for name, p in parameters(20).items()}

    def policy_update(self, iteration):
        return self.policy[iteration]

    def reward_update(self, iteration):
        return self.reward


def started(method, past=None, iteration=1, stream=False, **values):
    params, past = parameters(), past or Past(0.01)
    estimator = make(method, params, stream=stream, **{"epsilon": 1e-2, "lr": 0.1, "schedule": "constant"} | values)
    estimator.begin_iteration(iteration, past)
    return estimator, params, past


def z(estimator):
    estimator.direction.begin(estimator.updates, START)
    return {name: estimator.z(0, name).double() for name in estimator.parameters}


def flat(tensors):
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors.values()])


def cosine(a, b):
    return ((a * b).sum() / (a.norm() * b.norm())).item()


@pytest.mark.parametrize(("method", "values"), [
    ("zopro-last-update", {}),  # there is no last update yet
    ("zopro-start-norm", {}),  # the previous update is the warm start's
    ("zopro-scaled-lr", {}),  # the evaluated directions are the same, only the step is another
    ("zopro-off-previous", {"decay": "constant", "initial_weight": 1.0}),  # no noise
    ("zopro-along-reward", {"decay": "constant", "initial_weight": 1.0}),
    ("zopro-plus-reward", {"project": False}),  # no reward model's update
])
def test_the_first_direction_is_zopros_where_the_change_does_not_act(method, values):
    ours, theirs = (z(started(name, **values)[0]) for name in (method, "zopro"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("method", VARIANTS)
def test_every_step_is_along_the_evaluated_direction(method, stream):
    estimator, params, _ = started(method, lr=0.3, stream=stream)
    for _ in range(3):
        direction, before = flat(z(estimator)), flat(params)
        step(estimator, linear_loss(params, SLOPE), batch())
        assert abs(cosine(flat(params) - before, direction)) > 0.999


@pytest.mark.parametrize("method", VARIANTS)
def test_the_noise_of_every_variant_is_as_long_as_the_previous_update(method):
    estimator, _, past = started(method, decay="constant", initial_weight=0.0)
    for name, found in z(estimator).items():
        assert found.norm().item() == pytest.approx(past.policy[0][name].double().norm().item(), rel=1e-4)


def test_the_last_update_is_the_axis_at_the_previous_iterations_length():
    estimator, params, past = started("zopro-last-update", decay="constant", initial_weight=1.0)
    lengths = {name: update.norm().item() for name, update in past.policy[0].items()}
    for _ in range(3):  # a = 1 stays on one line; noise is needed to leave it
        step(estimator, linear_loss(params, SLOPE), batch())
    estimator, params, past = started("zopro-last-update", decay="constant", initial_weight=0.6)
    for _ in range(3):
        before = {name: p.detach().clone() for name, p in params.items()}
        step(estimator, linear_loss(params, SLOPE), batch())
        moved = {name: p.detach() - before[name] for name, p in params.items()}
        for name, update in moved.items():
            axis = estimator.direction.axis(name)
            assert cosine(axis.double(), update.double()) > 0.999
            assert axis.norm().item() == pytest.approx(lengths[name], rel=1e-5)
    held = {name: estimator.direction.axis(name) for name in params}
    step(estimator, linear_loss(params, {name: 0 * p for name, p in SLOPE.items()}), batch())
    assert all(torch.equal(estimator.direction.axis(name), held[name]) for name in params)  # it moved nothing


def test_the_last_update_survives_a_checkpoint(tmp_path):
    past, checkpoints = Past(0.01), Checkpoints(tmp_path)
    estimator, params, _ = started("zopro-last-update", past)
    for _ in range(2):
        step(estimator, linear_loss(params, SLOPE), batch())
    checkpoints.save(estimator.state())
    again, theirs, _ = started("zopro-last-update", past)
    again.load_state(checkpoints.load(lambda text: None))
    for name, p in theirs.items():
        p.data.copy_(params[name])
    for one, tensors in ((estimator, params), (again, theirs)):
        for _ in range(2):
            step(one, linear_loss(tensors, SLOPE), batch())
    assert all(torch.equal(params[name], theirs[name]) for name in params)


def test_the_norm_of_the_warm_start_is_kept():
    past = Past(0.01, 1e-4)
    for method, kept in (("zopro-start-norm", 0), ("zopro", 1)):
        estimator, _, _ = started(method, past, iteration=2)
        for name, found in z(estimator).items():
            assert found.norm().item() == pytest.approx(past.policy[kept][name].norm().item(), rel=0.1)
            assert cosine(found, past.policy[1][name].double()) > 0.99  # the axis is the previous update all the same


@pytest.mark.parametrize(("method", "power"), [("zopro-scaled-lr", 0), ("zopro", 2)])
def test_the_scaled_rate_makes_the_step_independent_of_the_previous_updates_length(method, power):
    steps = []
    for size in (1e-3, 1e-1):
        estimator, params, past = started(method, Past(size), lr=1e-2)
        before = flat(params)
        direction = flat(z(estimator))
        slope = step(estimator, linear_loss(params, SLOPE), batch())["slope"]
        steps.append(flat(params) - before)
        if not power:
            square = flat(past.policy[0]).square().sum()
            assert torch.allclose(steps[-1], -1e-2 * slope * direction / square, atol=1e-6)
    assert (steps[1].norm() / steps[0].norm()).item() == pytest.approx(100**power, rel=0.05)


def test_noise_is_off_the_previous_update_along_the_reward_models_or_off_it():
    for method, previous, reward in (("zopro-off-previous", 0, None), ("zopro-along-reward", None, 1),
                                     ("zopro-plus-reward", None, 0), ("zopro", None, 0)):
        estimator, _, past = started(method, decay="constant", initial_weight=0.0)
        for name, found in z(estimator).items():
            for wanted, other in ((previous, past.policy[0]), (reward, past.reward)):
                if wanted is not None:
                    assert abs(cosine(found, other[name].double())) == pytest.approx(wanted, abs=1e-5)


def test_the_axis_is_half_way_between_the_previous_update_and_the_reward_models():
    estimator, _, past = started("zopro-plus-reward", decay="constant", initial_weight=1.0)
    for name, found in z(estimator).items():
        previous, reward = (update[name].double() for update in (past.policy[0], past.reward))
        assert cosine(found, previous) == pytest.approx(cosine(found, reward), abs=1e-5) and cosine(found, reward) > 0
        assert found.norm().item() == pytest.approx(previous.norm().item(), rel=1e-5)


def test_tensors_without_a_previous_or_a_reward_update_do_no_harm():
    for method in VARIANTS:
        past = Past(0.01)
        past.policy[0]["a"] = torch.zeros_like(past.policy[0]["a"])
        past.reward["b"] = torch.zeros_like(past.reward["b"])
        estimator, params, _ = started(method, past)
        for _ in range(2):
            step(estimator, linear_loss(params, SLOPE), batch())
        assert torch.equal(params["a"], parameters()["a"]) and params["b"].isfinite().all()


def test_which_iterations_are_warm():
    warm = {name: [get_method(name).is_warm(iteration) for iteration in range(5)]
            for name in ("zopro-rewarm", "zopro", "mezo")}
    assert warm == {"zopro-rewarm": [True, False, True, False, True], "zopro": [True, *[False] * 4],
                    "mezo": [False] * 5}


def test_after_a_second_warm_start_the_random_streams_go_on(prepared, make_run, tmp_path):
    run = RunInProgress(make_run("zopro-rewarm", "loop.iterations=4", "budget.limit=8"), prepared,
                        RunStore(tmp_path / "run"), lambda state: None, Meter())
    run.store.start({}, {})
    run.execute()
    rows = run.store.rows("updates.jsonl")
    assert [(row["iteration"], "slope" in row) for row in rows] == [
        (iteration, iteration % 2 == 1) for iteration in range(4) for _ in range(2)]
    assert run.estimator.updates == 4  # those of both iterations, so that no z is drawn twice
    assert run.paused is None

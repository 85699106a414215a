"""ESSA: members differ in singular values alone, CMA-ES finds a minimum among them, and a resume repeats it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from baselines.estimators import singular_values
from baselines.registry import get_method
from benchmark.core.errors import ConfigError, RunError
from tests.baselines.parts import START, make


def parameters(dtype=torch.float32):
    stream = torch.Generator().manual_seed(0)
    return {"A": torch.nn.Parameter(torch.randn(3, 8, generator=stream).to(dtype)),
            "B": torch.nn.Parameter(torch.zeros(6, 3, dtype=dtype)),  # as an adapter's at its start
            "bias": torch.nn.Parameter(torch.randn(5, generator=stream).to(dtype))}


def problem(value, sampled=False):
    found = SimpleNamespace(sampled=sampled, readings=0)

    def read():
        found.readings += 1
        return float(value())

    found.value = read
    return found


def made(params, **values):
    return make("essa", params, **{"sigma": 0.1, "population": 8} | values)


def copied(params):
    return {name: p.detach().clone() for name, p in params.items()}


def distance(params, target):
    return lambda: sum((p - target[name]).square().sum() for name, p in params.items())


@pytest.mark.parametrize("sampled", [False, True])
def test_members_and_steps_change_singular_values_alone(sampled):
    params, seen = parameters(), []
    before = copied(params)
    estimator = made(params)
    u, v = estimator.vectors["A"]
    x = torch.tensor([0.3, -0.2, 0.0, 1.0, -1.0, 0.5], dtype=torch.float64)  # of A, then of B
    assert torch.allclose(estimator.at(x.numpy())["A"], before["A"] + u @ x[:3].float().diag() @ v, atol=1e-6)

    def value():
        # A torch function of every parameter, as a model calls them: what stands in for it is seen so.
        seen.append({name: torch.add(p, 0) for name, p in params.items()})
        return seen[-1]["A"].square().sum()

    task = problem(value, sampled)
    estimator.step(task, START)
    assert task.readings == 8 == get_method("essa").estimator.passes(
        get_method("essa").resolved({"essa": {"population": 8}}), False)
    for point in (*seen, copied(params)):
        core = u.T @ (point["A"] - before["A"]) @ v.T  # diagonal: the singular vectors stay
        assert torch.allclose(core, core.diagonal().diag(), atol=1e-5) and core.norm() > 1e-3
        assert torch.allclose(u @ core @ v, point["A"] - before["A"], atol=1e-5)
        assert torch.equal(point["bias"], before["bias"]) and point["B"].norm() > 0
    assert len({point["A"].sum().item() for point in seen}) == 8


def test_a_matrix_of_zeros_gets_orthonormal_vectors_that_the_seed_names():
    one, same, other = (made(parameters()), made(parameters()), make("essa", parameters(), seed=1))
    u, v = one.vectors["B"]
    assert torch.allclose(u.T @ u, torch.eye(3), atol=1e-5) and torch.allclose(v @ v.T, torch.eye(3), atol=1e-5)
    assert not torch.allclose(u.abs(), torch.eye(6)[:, :3], atol=0.1)
    assert torch.equal(u, same.vectors["B"][0]) and not torch.equal(u, other.vectors["B"][0])


@pytest.mark.parametrize("limit", [1000, 3])
def test_the_search_finds_the_minimum_among_singular_values(limit, monkeypatch):
    monkeypatch.setattr(singular_values, "FULL", limit)  # with all of C, and with its diagonal
    params = parameters()
    estimator = made(params, population=12)
    aim = torch.linspace(-0.5, 0.5, 6).double().numpy()
    target = {name: value.clone() for name, value in estimator.at(aim).items()}
    loss = distance(params, target)
    first = loss().item()
    for _ in range(150):
        estimator.step(problem(loss), START)
    assert loss().item() < 1e-3 * first


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_only_the_order_of_the_losses_matters(scale):
    results = []
    for factor in (1.0, scale):
        params = parameters()
        estimator, loss = made(params), distance(params, {name: torch.zeros(p.shape) for name, p in params.items()})
        for _ in range(3):
            estimator.step(problem(lambda loss=loss, factor=factor: factor * loss().double()), START)
        results.append(copied(params))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_losses_make_no_update_and_a_resume_repeats_the_search(dtype):
    ours, theirs = parameters(dtype), parameters(dtype)
    whole, half = made(ours), made(theirs)

    def run(estimator, params, losses):
        for kind in losses:
            target = {name: torch.ones(p.shape, dtype=dtype) for name, p in params.items()}
            before = copied(params)
            update = estimator.step(problem(distance(params, target) if kind else lambda: 1.0), START)
            assert all(math.isfinite(value) for value in update.row().values())
            assert kind or all(torch.equal(p, before[name]) for name, p in params.items())

    run(whole, ours, (0, 1, 0, 1, 1))
    run(half, theirs, (0, 1, 0))
    again = made(theirs)  # made where the search has got to, not where it began
    again.load_state(half.state())
    run(again, theirs, (1, 1))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(ours["A"], parameters(dtype)["A"])


def test_what_cannot_be_searched_is_said():
    with pytest.raises(ConfigError, match="no matrix"):
        make("essa", {"bias": torch.nn.Parameter(torch.ones(3))})
    params = parameters()
    before = copied(params)
    with pytest.raises(RunError, match="Lower sigma"):
        made(params).step(problem(lambda: math.nan), START)
    assert all(torch.equal(p, before[name]) for name, p in params.items())

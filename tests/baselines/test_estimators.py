"""Zeroth-order estimators: directions, exact restoration, and updates on losses whose slope is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from baselines import hyperparameters as hp
from baselines.contract import Progress, scheduled
from baselines.estimators.directions.informed import decayed, informed_direction
from baselines.estimators.perturbation import Perturbed, moved
from benchmark.core.errors import RunError
from benchmark.lm.rollout import Batch
from benchmark.lm.sequences import Sequences
from tests.baselines.parts import make, step, z_of


class Updates:
    """A history whose last updates are given."""

    def __init__(self, policy, reward):
        self.policy, self.reward = policy, reward

    def policy_update(self, iteration):
        return self.policy

    def reward_update(self, iteration):
        return {**self.reward, "score.weight": torch.ones(3)}


def parameters(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype))
            for name, shape in (("a", (8, 4)), ("b", (4, 16)))}


def batch(rows=6):
    sequences = Sequences(torch.ones(rows, 3, dtype=torch.long), torch.ones(rows, 3, dtype=torch.long), 1)
    return Batch.of((sequences,), {"weight": torch.arange(1.0, rows + 1)})


def linear_loss(params, slope):
    """L = Σ_i w_i ⟨c, θ⟩ / n over the rows of a batch: linear in θ, additive over micro-batches."""
    def loss(part):
        value = sum((slope[name] * p).sum() for name, p in params.items())
        return value * part.values["weight"].sum() / part.rows
    return loss


def informed(seed=0, **values):
    params = parameters()
    previous = {name: 0.01 * torch.randn_like(p) for name, p in params.items()}
    reward = {name: torch.randn_like(p) for name, p in params.items()}
    estimator = make("zopro", params, seed, **(values or {"epsilon": 1e-2, "lr": 0.1}))
    estimator.begin_iteration(1, Updates(previous, reward))
    return estimator, params, previous, reward


@pytest.mark.parametrize("kind", ["mezo", "zopro"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_perturb_and_restore_leaves_every_bit(kind, dtype):
    params = parameters(dtype=dtype)
    if kind == "mezo":
        estimator = make("mezo", params, lr=0.0)
    else:
        estimator = make("zopro", params, lr=0.0)
        estimator.begin_iteration(1, Updates({n: torch.randn_like(p) for n, p in params.items()},
                                             {n: torch.randn_like(p) for n, p in params.items()}))
    before = {name: p.detach().clone() for name, p in params.items()}
    for _ in range(25):
        step(estimator, linear_loss(params, before), batch())
    assert all(torch.equal(before[name], p) for name, p in params.items())


def test_parameters_are_restored_when_the_loss_fails():
    params = parameters()
    before = {name: p.detach().clone() for name, p in params.items()}

    def fail(part):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        step(make("mezo", params), fail, batch())
    assert all(torch.equal(before[name], p) for name, p in params.items())


@pytest.mark.parametrize("epsilon", [1e-1, 1e-2, 1.0])
def test_on_a_linear_loss_the_slope_is_exact_for_any_epsilon(epsilon):
    params = {name: torch.nn.Parameter(p.detach().double()) for name, p in parameters().items()}
    slope = {name: torch.randn_like(p) for name, p in params.items()}
    estimator = make("mezo", params, lr=0.0, epsilon=epsilon)
    z = {name: z_of(estimator, name) for name in params}
    expected = sum((slope[name] * z[name]).sum().item() for name in params) * batch().values["weight"].mean().item()
    figures = step(estimator, linear_loss(params, slope), batch())
    assert figures["slope"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["mezo", "zopro"])
def test_z_made_anew_gives_the_same_bits_as_z_kept(kind):
    results = []
    for stream in (False, True):
        params = parameters()
        updates = {name: p.detach() * 0.1 for name, p in params.items()}
        estimator = make(kind, params, stream=stream, lr=0.1, epsilon=1e-2)
        estimator.begin_iteration(1, Updates(updates, updates))
        figures = [step(estimator, linear_loss(params, parameters(1)), batch()) for _ in range(3)]
        results.append((figures, params))
    (kept, theirs), (anew, ours) = results
    assert kept == anew and all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_perturbed_parameters_are_seen_by_every_function_and_by_nothing_else():
    layer = torch.nn.Sequential(torch.nn.Embedding(4, 3), torch.nn.LayerNorm(3), torch.nn.Linear(3, 2))
    ids, named = torch.tensor([0, 3]), dict(layer.named_parameters())
    moved = {name: p.detach() + 1 for name, p in named.items()}
    with torch.no_grad(), Perturbed(named, moved.__getitem__):
        ours = layer(ids)
    expected = torch.func.functional_call(layer, moved, (ids,))
    assert torch.equal(ours, expected) and not torch.equal(layer(ids), expected)


def test_moved_parameters_are_those_and_put_back_to_the_bit():
    params = parameters()
    before = {name: p.detach().clone() for name, p in params.items()}
    with pytest.raises(RuntimeError, match="stop"), moved(params, lambda name: params[name].data + 1):
        assert all(torch.equal(p, before[name] + 1) for name, p in params.items())
        raise RuntimeError("stop")
    assert all(torch.equal(before[name], p) for name, p in params.items())


def test_the_update_is_minus_lr_times_slope_times_z():
    params = parameters()
    slope = {name: torch.randn_like(p) for name, p in params.items()}
    before = {name: p.detach().clone() for name, p in params.items()}
    estimator = make("mezo", params, lr=1e-3, weight_decay=0.1)
    z = {name: z_of(estimator, name) for name in params}
    figures = step(estimator, linear_loss(params, slope), batch())
    for name, p in params.items():
        assert torch.allclose(p, before[name] - 1e-3 * (figures["slope"] * z[name] + 0.1 * before[name]), atol=1e-7)


def test_the_direction_depends_on_seed_update_and_tensor_only():
    params = parameters()
    one, same, other = (make("mezo", params, seed, lr=0.0) for seed in (0, 0, 1))
    assert torch.equal(z_of(one, "a"), z_of(same, "a"))
    assert not torch.equal(z_of(one, "a"), z_of(other, "a"))
    z_of(one, "b")  # asking for another tensor first changes nothing
    assert torch.equal(z_of(one, "a"), z_of(same, "a"))
    first = z_of(one, "a")
    step(one, linear_loss(params, params), batch())
    assert not torch.equal(z_of(one, "a"), first)


def test_micro_batches_add_up_to_the_whole_batch():
    slopes = []
    for size in (1, 4, 100):
        params = parameters()
        slope = {name: torch.ones_like(p) for name, p in params.items()}
        slopes.append(step(make("mezo", params, lr=0.0), linear_loss(params, slope), batch(), size)["slope"])
    assert slopes[0] == pytest.approx(slopes[2], rel=1e-4) and slopes[1] == pytest.approx(slopes[2], rel=1e-4)


def test_informed_noise_is_orthogonal_to_the_reward_update_and_has_the_norm_of_the_previous_one():
    previous, reward, noise = torch.randn(64, 32) * 0.01, torch.randn(64, 32), torch.randn(64, 32)
    n = informed_direction(noise, previous, reward, 0.0, True)
    assert abs((n * reward).sum() / (n.norm() * reward.norm())) < 1e-6
    assert n.norm().item() == pytest.approx(previous.norm().item(), rel=1e-5)


def test_weight_one_is_the_previous_update_exactly():
    estimator, params, previous, _ = informed(decay="constant", initial_weight=1.0)
    for name in params:
        assert torch.equal(z_of(estimator, name), previous[name])


def test_weight_zero_without_projection_and_norm_matching_is_mezo_bit_for_bit():
    zopro, ours, *_ = informed(decay="constant", initial_weight=0.0, project=False, match_norm=False, lr=1e-3,
                               epsilon=1e-2, schedule="constant")
    theirs = parameters()
    mezo = make("mezo", theirs, lr=1e-3, epsilon=1e-2, schedule="constant")
    slope = {name: torch.randn_like(p) for name, p in ours.items()}
    for _ in range(5):
        step(zopro, linear_loss(ours, slope), batch())
        step(mezo, linear_loss(theirs, slope), batch())
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_tensors_without_a_previous_or_a_reward_update_do_no_harm():
    noise, zero = torch.randn(4, 4), torch.zeros(4, 4)
    assert torch.equal(informed_direction(noise, zero, noise, 0.5, True), zero)  # stays where it is, no NaN
    assert torch.allclose(informed_direction(noise, noise, zero, 0.0, False), noise)


def test_a_policy_that_did_not_move_is_an_error_with_a_remedy():
    params = parameters()
    zero = {name: torch.zeros_like(p) for name, p in params.items()}
    estimator = make("zopro", params)
    with pytest.raises(RunError, match="Raise warm_start_lr"):
        estimator.begin_iteration(1, Updates(zero, zero))
    estimator.begin_iteration(2, Updates(zero, zero))  # updates that vanished later on are a result
    assert "no longer moves: the policy's update of iteration 2" in estimator.warnings[0]
    assert step(estimator, linear_loss(params, params), batch())["step_norm"] == 0


@pytest.mark.parametrize(("decay", "progress", "update", "expected"), [
    ("linear", 0.0, 0, 0.999), ("linear", 0.5, 7, 0.499), ("linear", 1.0, 9, 0.0), ("linear", 1.2, 9, 0.0),
    ("exp", 0.9, 0, 0.999), ("exp", 0.0, 1, 0.999 * math.exp(-1)), ("exp", 0.0, 5, 0.999 * math.exp(-5)),
    ("constant", 0.7, 3, 0.999),
])
def test_the_decay_of_the_previous_updates_weight(decay, progress, update, expected):
    assert decayed(hp.InformedSettings(decay=decay), progress, update) == pytest.approx(expected)


def test_the_exp_decay_counts_updates_of_the_iteration():
    estimator, params, previous, reward = informed(decay="exp", lr=0.0)
    weights = [step(estimator, linear_loss(params, params), batch())["weight"] for _ in range(3)]
    assert weights == pytest.approx([0.999, 0.999 * math.exp(-1), 0.999 * math.exp(-2)])
    estimator.begin_iteration(2, Updates(previous, reward))
    assert step(estimator, linear_loss(params, params), batch())["weight"] == pytest.approx(0.999)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_parameters():
    params = parameters()
    before = {name: p.detach().clone() for name, p in params.items()}
    with pytest.raises(RunError, match="diverged"):
        step(make("mezo", params), lambda part: torch.tensor(float("nan")), batch())
    assert all(torch.equal(before[name], p) for name, p in params.items())


def test_backpropagation_accumulates_the_gradient_of_the_whole_batch():
    results = []
    for size in (1, 100):
        params = parameters()
        slope = {name: torch.ones_like(p) for name, p in params.items()}
        estimator = make("rloo", params, lr=0.1)
        results.append((step(estimator, linear_loss(params, slope), batch(), size)["gradient_norm"], params))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    assert all(torch.allclose(results[0][1][name], results[1][1][name]) for name in ("a", "b"))


def test_schedules():
    progress = Progress(run=0.25, iteration=0.5)
    assert [scheduled(2.0, s, progress) for s in ("constant", "linear", "linear_iteration")] == [2.0, 1.5, 1.0]
    assert replace(progress, iteration=1.0).iteration == 1.0

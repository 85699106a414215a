"""Zeroth-order estimators on a real policy, its rollouts and losses: laws that hold for any model.

Laws that rounding would blur are checked in float64, so that no tolerance hides an error.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch.overrides import TorchFunctionMode

from baselines.contract import Progress
from benchmark.lm.adapted import Adapted, Tensors
from benchmark.lm.rollout import Batch
from benchmark.run.loop import RunInProgress
from benchmark.run.store import RunStore
from tests.baselines.parts import make, step, z_of
from tests.baselines.test_estimators import Updates, batch

FALSE_ALARM = 1e-6  # chance that right code with other seeds fails a statistical test


class InFloat64(TorchFunctionMode):
    """Casts to float32 inside the block keep float64: the models' own (norms, log-softmax) would round the loss."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        elif func is torch.Tensor.to:
            args = [torch.float64 if a is torch.float32 else a for a in args]
        return func(*args, **(kwargs or {}))


@pytest.fixture
def world(prepared, make_run, tmp_path):
    """``world(method, hyperparameters…)`` → a RunInProgress, wired as in a run."""
    def build(method: str, *assignments: str, name: str = "run") -> RunInProgress:
        overrides = [a if "." in a.split("=")[0] else f"{method}.{a}" for a in assignments]
        return RunInProgress(make_run(method, *overrides), prepared, RunStore(tmp_path / name), lambda state: None)

    return build


def move(run: RunInProgress, updates: int = 4) -> None:
    """First-order updates away from π₀, where B = 0 and half of the gradient with it."""
    parameters = run.estimator.parameters
    warm_start = make("rloo", parameters, lr=1e-2, schedule="constant", max_grad_norm=1.0)
    for _ in range(updates):
        step(warm_start, run.who.objective.loss, run.who.objective.collect(), 100)
    for parameter in parameters.values():
        parameter.grad = None


def changed(model: Adapted, seed: int, scale: float) -> Tensors:
    """The model's state plus normal noise."""
    generator = torch.Generator().manual_seed(seed)
    return {name: value + scale * torch.randn(value.shape, generator=generator)
            for name, value in model.state().items()}


def save_history(run: RunInProgress, iterations: int = 2, scale: float = 0.1) -> None:
    """Adapters of random iterations in the run's own store, the reward model's head among them; the warm start ends."""
    run.estimator = run.who.new_estimator(warm=False)
    run.store.save_adapters(0, run.who.policy.state(), run.who.reward.state())
    for i in range(1, iterations + 1):
        run.store.save_adapters(i, changed(run.who.policy, i, scale), changed(run.who.reward, 100 + i, scale))


def gradient(parameters: Tensors, loss, whole: Batch, size: int) -> torch.Tensor:
    """The gradient that backpropagation accumulates over micro-batches, flat; nothing moves."""
    step(make("rloo", parameters, lr=0.0), loss, whole, size)
    return flat({name: p.grad for name, p in parameters.items()})


def flat(tensors: Tensors) -> torch.Tensor:
    return torch.cat([tensors[name].detach().flatten() for name in sorted(tensors)])


def at_most(size: int, loss):
    """``loss``, given no more than ``size`` rows at a time."""
    def limited(part: Batch) -> torch.Tensor:
        assert len(part.parts[0]) <= size
        return loss(part)

    return limited


def watched(estimator) -> list[tuple[str, torch.Tensor]]:
    """Every z that is asked for from now on."""
    asked, z = [], estimator.direction.z

    def noting(name, theta, noise):
        asked.append((name, z(name, theta, noise).clone()))
        return asked[-1][1]

    estimator.direction.z = noting
    return asked


@pytest.mark.parametrize("method", ["mezo", "zopro"])
def test_updates_at_learning_rate_zero_leave_every_bit_of_the_model(method, world):
    """After each of 20 updates on fresh rollouts every weight, trained or frozen, has its old bits; both losses of
    every update differ, so θ was perturbed each time."""
    run = world(method, "lr=0")
    move(run)
    if method == "zopro":
        save_history(run)
        run.estimator.begin_iteration(1, run.store)
    before = {name: p.detach().clone() for name, p in run.who.policy.model.named_parameters()}
    slopes = set()
    for update in range(20):
        progress = Progress(update / 40, update / 20)
        figures = step(run.estimator, run.who.objective.loss, run.who.objective.collect(), 100, progress)
        assert figures["difference"] != 0
        slopes.add(figures["slope"])
        for name, p in run.who.policy.model.named_parameters():
            assert torch.equal(p.view(torch.int32), before[name].view(torch.int32)), name
    assert len(slopes) == 20


@pytest.mark.parametrize("method", ["mezo", "mezo-dpo"])
def test_a_step_is_the_same_however_its_batch_is_split(method, world):
    """z has the same bits in the perturbations and in the update, kept or made anew, for every split; slope and step
    agree."""
    run = world(method)
    move(run)
    run.who.policy.model.double()
    whole, start, results = run.who.objective.collect(), flat(run.who.policy.state()), []
    state = run.who.policy.state()
    for size, stream in ((100, False), (3, False), (100, True), (1, True)):
        run.who.policy.load_state(state)
        estimator = make("mezo", run.who.policy.parameters, stream=stream, lr=1e-3, epsilon=1e-3)
        asked = watched(estimator)
        with InFloat64():
            figures = step(estimator, at_most(size, run.who.objective.loss), whole, size)
        results.append((figures["slope"], flat(run.who.policy.state()) - start, asked))
        assert len(asked) >= (3 if stream else 1) * len(state)  # θ + εz, θ − εz, the update
    first = dict(results[0][2])
    assert first.keys() == run.who.policy.parameters.keys()
    for slope, moved, asked in results:
        assert all(torch.equal(z, first[name]) for name, z in asked)
        assert slope == pytest.approx(results[0][0], rel=1e-7)
        assert torch.allclose(moved, -1e-3 * slope * flat(first), rtol=1e-7, atol=1e-15)
    assert abs(results[0][0]) > 1e-3


@pytest.mark.parametrize("method", ["rloo", "ppo", "online-dpo", "dpo"])
def test_micro_batches_add_up_to_the_loss_and_the_gradient_of_the_batch(method, world):
    """On a batch that is some updates old, so that ratios differ from 1, with completions of different lengths and a
    ragged last micro-batch. What stands on padding does not matter."""
    tokens = world(method).who.objective.collect().parts[0].completion_ids
    run = world(method)
    run.who.prepared.encoder.eos = tokens[0, 3].item()  # the same rollout, but some of its rows end early
    whole = run.who.objective.collect()
    assert len({int(n) for part in whole.parts for n in part.completion_mask.sum(1)}) > 1
    move(run)
    run.who.policy.model.double()
    if method == "ppo":
        run.who.objective.critic.model.double()
    other = replace(whole, parts=tuple(replace(p, ids=p.ids.where(p.mask.bool(), 5)) for p in whole.parts))
    with InFloat64():
        losses, gradients = [], []
        for rows, size in ((whole, 100), (whole, 3), (whole, 1), (other, 3)):
            with torch.no_grad():
                losses.append(sum(run.who.objective.loss(part).item() for part in rows.split(size)))
            gradients.append(gradient(run.estimator.parameters, at_most(size, run.who.objective.loss), rows, size))
    assert gradients[0].norm() > 1e-3
    for loss, found in zip(losses, gradients, strict=True):
        assert loss == pytest.approx(losses[0], rel=1e-9, abs=1e-12)
        assert (found - gradients[0]).norm() <= 1e-9 * gradients[0].norm()


@pytest.fixture
def exact(world):
    """``exact(method)`` → SPSA's parameters (one module's A and B, 192 entries) in float64, a loss and its gradient."""
    def build(method: str):
        run = world(method, "loop.sequences_per_update=4")
        move(run)
        whole = run.who.objective.collect()
        run.who.policy.model.double()
        some = {name: p for name, p in run.who.policy.parameters.items() if "layers.1.self_attn.v_proj" in name}

        def loss(part: Batch) -> torch.Tensor:
            with InFloat64():
                return run.who.objective.loss(part)

        return some, loss, whole, gradient(some, loss, whole, 100)

    return build


def estimates(parameters: Tensors, loss, whole: Batch, epsilon: float, draws: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Slopes (n,) and directions (n, d) of ``draws`` updates of SPSA at one point."""
    estimator, slopes, directions = make("mezo", parameters, lr=0.0, epsilon=epsilon), [], []
    for _ in range(draws):
        directions.append(flat({name: z_of(estimator, name) for name in parameters}))
        slopes.append(step(estimator, loss, whole, 100)["slope"])
    return torch.tensor(slopes, dtype=torch.float64), torch.stack(directions)


@pytest.mark.parametrize("method", ["mezo", "mezo-dpo"])
def test_the_slope_is_the_derivative_along_z_up_to_epsilon_squared(method, exact):
    """Central differences: slope − g·z = ε²·(third derivative along z)/6 + O(ε⁴), so a tenth of ε leaves a hundredth
    of the error."""
    *problem, g = exact(method)
    errors = {}
    for epsilon in (1e-3, 1e-4):
        slope, z = estimates(*problem, epsilon, 8)
        errors[epsilon] = (slope - z @ g) / g.norm()
    assert errors[1e-3].abs().max() < 1e-3 and errors[1e-4].abs().max() < 1e-5
    assert (errors[1e-3] - 100 * errors[1e-4]).norm() < 0.05 * errors[1e-3].norm()


@pytest.mark.parametrize("method", ["mezo", "mezo-dpo"])
def test_the_mean_of_many_estimates_converges_to_the_gradient_at_the_rate_of_theory(method, exact):
    """Law of ĝ = slope·z for z ~ N(0, I_d): E ĝ = g and E‖ḡ_n − g‖² = (d + 1)‖g‖²/n for the mean ḡ_n of n draws.

    With u = g/‖g‖ and s_i = (u·z_i)² ~ χ²_1, the part of ḡ_n along g is ‖g‖·S/n with S = Σ s_i. The part across it is,
    given the s_i, normal in d − 1 dimensions with variance ‖g‖²·S/n² in each. So, with N draws cut into blocks of n:

    - along: Σ s_i ~ χ²_N, whose exact quantiles bound it (half of FALSE_ALARM);
    - across: the blocks' squared errors add up to Σ w_j χ²_1 with known weights w, which Laurent & Massart (2000,
      Lemma 1) bound: deviations from Σ w_j above 2|w|₂√x + 2|w|_∞ x, or below −2|w|₂√x, have a chance of e^−x each
      (the other half, shared by two sides at four n).

    Right code with other seeds fails these with a chance of FALSE_ALARM, and a Kolmogorov-Smirnov test of the entries
    of z with as much. The slope on log axes has a mean of −1 and a deviation of 0.023 (simulated from the law); 0.15 is
    over six of them. The error of the finite difference is below 1e-6‖g‖ in every draw, against √(d + 1)‖g‖.
    """
    draws, sizes = 256, (4, 16, 64, 256)
    *problem, g = exact(method)
    slope, z = estimates(*problem, 1e-5, draws)
    norm, d = g.norm(), len(g)
    assert (slope - z @ g).abs().max() < 1e-6 * norm
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > FALSE_ALARM

    along = slope.square() / norm**2
    low, high = stats.chi2.isf([1 - FALSE_ALARM / 4, FALSE_ALARM / 4], draws)
    assert low < along.sum() < high
    x, errors = math.log(2 * 2 * len(sizes) / FALSE_ALARM), []
    for n in sizes:
        means = (slope[:, None] * z).view(-1, n, d).mean(1) / norm
        across = means - (means @ g / norm)[:, None] * g / norm
        weights = (along.view(-1, n).sum(1) / n**2).repeat_interleave(d - 1)
        excess, spread = across.square().sum() - weights.sum(), 2 * weights.norm() * math.sqrt(x)
        assert -spread <= excess <= spread + 2 * weights.max() * x, n
        errors.append((means - g / norm).square().sum(1).mean().item())
    rate = stats.linregress([math.log(n) for n in sizes], [math.log(e) for e in errors]).slope
    assert rate == pytest.approx(-1, abs=0.15)


@pytest.mark.parametrize("weight", [0.0, 0.4, 0.999])
def test_informed_noise_on_the_models_own_updates(weight, world):
    """n = (z − a·prev)/√(1 − a²) is, per tensor, orthogonal to the reward model's update, as long as the policy's
    update, and otherwise along MeZO's z; updates are those of the iteration before, the score head is left out."""
    run = world("zopro", f"initial_weight={weight}", "decay=constant")
    save_history(run)
    run.estimator.begin_iteration(2, run.store)
    previous, reward = run.store.policy_update(1), run.store.reward_update(1)
    assert set(reward) - set(previous) == {"score.weight"}
    assert run.estimator.direction.reward_update.keys() == run.who.policy.parameters.keys() == previous.keys()
    mezo = make("mezo", run.who.policy.parameters)
    for name in run.who.policy.parameters:
        z, prev, v = (t.detach().double() for t in (z_of(run.estimator, name), previous[name],
                                                    reward[name]))
        n = (z - weight * prev) / math.sqrt(1 - weight**2)
        tolerance = 1e-6 / math.sqrt(1 - weight**2)  # float32's rounding of z, as a share of n
        assert abs((n * v).sum() / (n.norm() * v.norm())) < tolerance
        assert n.norm().item() == pytest.approx(prev.norm().item(), rel=tolerance)
        e = z_of(mezo, name).double()
        across = e - (e * v).sum() / v.square().sum() * v
        assert (n / n.norm() - across / across.norm()).norm() < 10 * tolerance


def test_weight_one_perturbs_along_the_previous_update_bit_for_bit(world):
    """At a = 1 the losses are those at θ ± ε·prev, and z is prev, also after an update."""
    run = world("zopro", "initial_weight=1", "decay=constant", "lr=0")
    save_history(run)
    run.estimator.begin_iteration(1, run.store)
    previous, start, whole = run.store.policy_update(0), run.who.policy.state(), run.who.objective.collect()
    figures, sides = step(run.estimator, run.who.objective.loss, whole, 100), []
    epsilon = run.estimator.probe.epsilon
    for scale in (epsilon, -epsilon):
        run.who.policy.load_state({name: torch.add(start[name], previous[name], alpha=scale) for name in start})
        with torch.no_grad():
            sides.append(sum(run.who.objective.loss(part).item() for part in whole.split(100)))
    assert figures["difference"] == sides[0] - sides[1] != 0
    assert figures["slope"] == (sides[0] - sides[1]) / (2 * epsilon)
    for name in run.who.policy.parameters:
        assert torch.equal(z_of(run.estimator, name), previous[name])


def test_weight_zero_without_projection_and_norm_matching_walks_mezos_path(world):
    """All parameters have MeZO's bits after every one of several updates on real rollouts, over two iterations."""
    shared = ("lr=1e-2", "epsilon=1e-2", "schedule=constant")
    mezo = world("mezo", *shared, name="mezo")
    zopro = world("zopro", *shared, "initial_weight=0", "decay=constant", "project=false", "match_norm=false")
    save_history(zopro)
    before = mezo.who.policy.state()
    for update in range(6):
        if update % 3 == 0:
            zopro.estimator.begin_iteration(1 + update // 3, zopro.store)
        for run in (mezo, zopro):
            step(run.estimator, run.who.objective.loss, run.who.objective.collect(), 100)
        ours, theirs = zopro.who.policy.state(), mezo.who.policy.state()
        assert all(torch.equal(ours[name], theirs[name]) for name in before)
        assert not any(torch.equal(ours[name], before[name]) for name in before)
        before = ours


@pytest.mark.parametrize(("dtype", "share", "cosine"), [
    (torch.bfloat16, (0.0, 0.001), (0.0, 0.1)),
    (torch.float32, (0.9, 1.0), (0.99, 1.0)),
])
def test_the_published_perturbation_vanishes_in_bf16_adapters(dtype, share, cosine):
    """Share of entries that θ + εz changes at the published ε = 1e-5 and a = 0.999, and cosine between that change and
    z. θ is a LoRA A of rank 64 and width 2048 as peft draws it (uniform in ±1/√2048 ≈ 0.022) plus the previous update,
    normal with deviation 1e-3: changes of 1e-8 where bf16's spacing is 3e-5 to 1e-4 and float32's 1e-9.

    Reference: bf16 0.012 % of the entries, cosine 0.018; float32 96.1 %, 0.9994. Here: 0.015 %, 0.016; 96.1 %, 0.9994.
    """
    generator = torch.Generator().manual_seed(0)
    bound = 1 / math.sqrt(2048)
    initial = torch.empty(64, 2048).uniform_(-bound, bound, generator=generator)
    update, reward = (1e-3 * torch.randn(64, 2048, generator=generator) for _ in range(2))
    theta = (initial + update).to(dtype)
    parameters, at = {"A": torch.nn.Parameter(theta.clone())}, []
    estimator = make("zopro", parameters)
    assert estimator.probe.epsilon == 1e-5
    estimator.begin_iteration(1, Updates({"A": update.to(dtype)}, {"A": reward.to(dtype)}))
    z = z_of(estimator, "A").double()

    def loss(part):
        at.append(parameters["A"].detach().clone())
        return part.values["weight"].sum()

    step(estimator, loss, batch(), 100)
    change = at[0].double() - theta.double()
    assert share[0] < (at[0] != theta).double().mean() < share[1]
    assert cosine[0] < (change * z).sum() / (change.norm() * z.norm()) < cosine[1]

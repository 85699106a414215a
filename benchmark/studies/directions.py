"""Direction quality: how good is the direction that an estimator would take, measured against the true gradient?

At points along a finished run the models of that moment are loaded, the gradient of the run's objective is
back-propagated on many rollouts, and every candidate estimator takes its direction from rollouts of its own. Each
candidate is the suite's estimator itself, asked what its readings say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, cast

import pandas as pd
import torch
from safetensors.torch import load_file

from baselines.contract import Objective, Progress
from baselines.estimators.comparison import Comparison
from baselines.estimators.directions.informed import TINY
from baselines.estimators.zeroth_order import ZerothOrderEstimator
from baselines.registry import get_method
from benchmark.core.errors import ConfigError
from benchmark.core.meter import Meter
from benchmark.grid.finished import prepared_for
from benchmark.lm.adapted import Tensors
from benchmark.lm.rollout import AnyBatch
from benchmark.plan.run import Run
from benchmark.reporting.pages import directions
from benchmark.run.participants import Participants
from benchmark.run.prepared import Prepared
from benchmark.run.problem import BatchProblem
from benchmark.run.store import RunStore

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.999)  # values of a, the weight of the previous update
SMALL = 8  # rollouts of the size of one update that the candidates take their directions from
START = Progress(0.0, 0.0)


@dataclass(frozen=True)
class Settings:
    """What is measured at each point: draws of z a candidate, rollouts that make the true gradient, the ε of all
    candidates (0 = each at its own), and zeroth-order methods whose directions are measured beside ZOPrO's."""

    draws: int = 8
    rollouts: int = 16
    epsilon: float = 0.0
    candidates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.draws < 2 or self.rollouts < 1 or self.epsilon < 0:
            raise ConfigError("diagnose: --draws takes 2 or more, --epsilon 0 or more.")


@dataclass(frozen=True)
class Candidate:
    """One candidate at one point.

    Attributes:
        estimator, weight: what was asked, and a (None where it has none).
        cosine, cosine_sd: between the step and the negative true gradient, mean and standard deviation over draws.
        own_cosine: the same with the negative gradient of the very rollout that the direction was taken from: what
            the estimator loses against backpropagation, apart from the noise of rollouts that both have.
        right_sign: share of draws whose step goes down on that rollout, that is, whose two losses told the sign.
        variance: E‖c ĝ − g‖²/‖g‖², c chosen so that c E ĝ agrees with g along g; d + 1 for Gaussian SPSA, in d
            dimensions, if rollouts had no noise. None where the mean estimate does not point along g at all.
        forwards: forward passes (policy-forward equivalents) that the direction costs, rollouts not counted.
        decrease: first-order decrease of the loss for a step of length ``step``, per forward pass.
    """

    estimator: str
    weight: float | None
    draws: int
    cosine: float
    cosine_sd: float
    own_cosine: float
    right_sign: float
    variance: float | None
    forwards: float
    decrease: float


def inner(a: Tensors, b: Tensors) -> float:
    return sum((a[name] * b[name]).sum().item() for name in a)


def norm(a: Tensors) -> float:
    return math.sqrt(inner(a, a))


class KeptState:
    """The state of a run after ``iteration`` iterations, with its true gradient.

    Raises:
        ConfigError: the run has not kept its adapters.
    """

    def __init__(self, run: Run, prepared: Prepared, store: RunStore, iteration: int, settings: Settings):
        folder = store.folder / "adapters" / f"iteration_{iteration}"
        if not folder.is_dir():
            raise ConfigError(f"{store.folder}: no adapters (execution.keep=curves, or removed). Run it again into "
                              f"another folder with execution.keep=all.")
        self.who = Participants(run, prepared, Meter())
        self.who.policy.load_state(load_file(folder / "policy.safetensors"))
        self.who.reward.load_state(load_file(folder / "reward.safetensors"))
        self.run, self.store, self.iteration, self.settings = run, store, iteration, settings
        self.parameters, self.trained = self.who.policy.parameters, self.who.policy.trained
        name = f"diagnosis {iteration}"
        self.objective: Objective = self.who.objective_on(f"{name} prompts", name)
        self.large = [self.objective.collect() for _ in range(settings.rollouts)]
        self.small = [self.objective.collect() for _ in range(SMALL)]
        self.own = [self.gradient(batch) for batch in self.small]
        self.true = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in self.parameters.items()}
        for batch in self.large:
            for key, value in self.gradient(batch).items():
                self.true[key] += value / len(self.large)

    def problem(self, batch: AnyBatch) -> BatchProblem:
        return BatchProblem(self.objective, batch, self.run.config.execution.backward_batch)

    def gradient(self, batch: AnyBatch) -> Tensors:
        """Back-propagated gradient of the objective on ``batch``."""
        for parameter in self.parameters.values():
            parameter.grad = None
        self.problem(batch).backward()
        found = {name: p.grad.detach().float().clone() for name, p in self.parameters.items() if p.grad is not None}
        for parameter in self.parameters.values():
            parameter.grad = None
        return found

    def step_length(self) -> float:
        """Mean displacement per update of the run's first iteration."""
        updates = sum(1 for line in (self.store.folder / "updates.jsonl").read_text().splitlines()
                      if '"iteration": 0,' in line)
        return norm(self.store.policy_update(0)) / updates


def candidates(point: KeptState) -> Iterator[tuple[str, float | None, Callable[[int], Tensors], float]]:
    """Name, a, draw number → estimate ĝ of the gradient, and its cost in forward passes.

    MeZO's and ZOPrO's, and those of further methods that the settings name.
    """
    settings, stored = point.settings, point.run.config.methods

    def drawn(name: str, **values: Any) -> tuple[Callable[[int], Tensors], float]:
        method = get_method(name)
        values = {**method.resolved(stored), **values}
        if settings.epsilon:
            values["epsilon"] = settings.epsilon
        made = method.make_estimator(point.parameters, values, point.run.seed)
        estimator = cast(ZerothOrderEstimator | Comparison, made)
        estimator.begin_iteration(point.iteration, point.store)

        def draw(number: int) -> Tensors:
            estimator.updates = number  # names the random streams of z
            _, weights, z = estimator.read(point.problem(point.small[number % SMALL]), START)
            still = torch.zeros(())
            return {tensor: sum(((w * found).float() for sample, w in weights.items()
                                 if (found := z(sample, tensor)) is not None), still) for tensor in point.parameters}
        return draw, float(method.estimator.passes(values, False))

    yield "backpropagation", None, point.own.__getitem__, 2 + point.trained
    yield "Gaussian SPSA", None, *drawn("mezo", epsilon=1e-2)
    for name in settings.candidates:
        yield name, None, *drawn(name)
    if not any(update.norm() > TINY for update in point.store.policy_update(point.iteration - 1).values()):
        return  # the previous update is zero, and so is every direction that follows it
    epsilon = point.run.resolved()["method"].get("epsilon", 1e-2)
    for name, weights, project in (("ZOPrO", WEIGHTS, True), ("ZOPrO, no projection", WEIGHTS, False),
                                   ("previous update alone", (1.0,), False)):
        for weight in weights:
            yield name, weight, *drawn("zopro", epsilon=epsilon, decay="constant", initial_weight=weight,
                                       project=project)


def measure(point: KeptState, draw: Callable[[int], Tensors], draws: int, forwards: float, step: float
            ) -> dict[str, Any]:
    """The figures of one candidate."""
    true, size = point.true, norm(point.true)
    cosines, own, along, squares = [], [], [], []
    for number in range(draws):
        estimate = draw(number)
        length, gradient = norm(estimate), point.own[number % SMALL]
        along.append(inner(estimate, true))
        squares.append(length * length)
        cosines.append(along[-1] / (length * size or math.inf))
        own.append(inner(estimate, gradient) / (length * norm(gradient) or math.inf))
    gain = mean(along)
    return {"draws": draws, "cosine": mean(cosines), "cosine_sd": stdev(cosines), "own_cosine": mean(own),
            "right_sign": sum(value > 0 for value in own) / draws,
            "variance": size**2 * mean(squares) / gain**2 - 1 if gain > 0 else None, "forwards": forwards,
            "decrease": step * size * mean(cosines) / forwards}


def diagnose(run: Run, prepared: Prepared, store: RunStore, settings: Settings,
             report: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every candidate at every iteration of a finished run that has a previous update; one row each."""
    rows = []
    for iteration in range(1, run.config.loop.iterations):
        report(f"{run.name}: after iteration {iteration}")
        point = KeptState(run, prepared, store, iteration, settings)
        step = point.step_length()
        place = {"task": run.task, "method": run.method, "seed": run.seed, "iteration": iteration,
                 "parameters": sum(p.numel() for p in point.parameters.values()),
                 "gradient_norm": norm(point.true), "previous_norm": norm(store.policy_update(iteration - 1)),
                 "step": step}
        for name, weight, draw, forwards in candidates(point):
            draws = SMALL if name == "backpropagation" else settings.draws
            figures = measure(point, draw, draws, forwards, step)
            rows.append({**place, **asdict(Candidate(name, weight, **figures))})
    return rows


def write_diagnosis(runs: list[tuple[Run, RunStore]], out: Path, cache: Path, data: str | None, settings: Settings,
                    titles: Mapping[str, str], report: Callable[[str], None]) -> list[Path]:
    """Diagnose ``runs`` and write table and plot into ``out``; return the paths."""
    rows: list[dict[str, Any]] = []
    for run, store in runs:
        rows += diagnose(run, prepared_for(run, cache, data), store, settings, report)
    if not rows:
        raise ConfigError("diagnose: the runs have one iteration only, so there is no previous update to look at.")
    written = directions.write(pd.DataFrame(rows), out, titles)
    report((out / "directions.md").read_text(encoding="utf-8"))
    return written

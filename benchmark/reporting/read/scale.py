"""What the headline says of a run: its changes in units that do not depend on which r₀ a seed trained, the bound on
its increase, and its frontiers. And of a method: mean and error, and whether an effect could have been seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from baselines.registry import find
from benchmark.core import statistics
from benchmark.core.paired import Difference
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun

FIXED_KL = 0.5  # nats per completion: where rewards are read, and up to which areas are taken


@dataclass(frozen=True)
class Unit:
    """Standard deviation of r₀ over π₀'s completions of each seed of a task; ``None`` where rewards stay raw.

    ``samples``: whether it was taken from the few stored samples, for want of a record.
    """

    of_seed: dict[int, float] | None
    samples: bool = False

    @property
    def name(self) -> str:
        return "r₀ score" if self.of_seed is None else "sd of r₀"

    def divide(self, run: FinishedRun, value: float | None) -> float | None:
        """``value`` of a run, an r₀ score, in this unit."""
        return value if value is None or self.of_seed is None else value / self.of_seed[run.seed]


def unit(results: Results, task: str) -> Unit:
    """From the records of the preparations; of older runs from the samples of π₀ that they kept."""
    recorded: dict[int, float] = {}
    sampled: dict[int, float] = {}
    for run in results.of(task):
        start = run.environment.preparation
        if start and start.reward_sd:
            recorded[run.seed] = start.reward_sd
        scores = [sample.base_reward for sample in run.samples if sample.base_reward is not None]
        if len(scores) > 1 and (deviation := statistics.sd(scores)):
            sampled.setdefault(run.seed, deviation)
    seeds = {run.seed for run in results.of(task)}
    if recorded.keys() == seeds:
        return Unit(recorded)
    return Unit(sampled, True) if sampled.keys() == seeds else Unit(None)


def change(run: FinishedRun, metric: str, of: Unit) -> float | None:
    """Test metric at the end minus at π₀, a reward in ``of``; ``None`` for a run that diverged or has none."""
    value = None if run.diverged else run.change(metric)
    return of.divide(run, value) if metric == "reward" else value


def error(run: FinishedRun, metric: str, of: Unit) -> float | None:
    """Standard error of :func:`change` from prompts and completions, where the evaluation told it."""
    value = run.metric("final", f"{metric}_se")
    return of.divide(run, value) if metric == "reward" else value


def bound(run: FinishedRun) -> float | None:
    """√(2 KL) at the end: to leading order no increase exceeds it, in standard deviations of r₀ on π₀'s completions."""
    kl = None if run.diverged else run.metric("final", "kl")
    return None if kl is None else math.sqrt(2 * max(kl, 0.0))


def curve(run: FinishedRun, metric: str, of: Unit) -> tuple[list[float], list[float]]:
    """KL and change of a metric at each validation evaluation; a reward with a unit no larger than its bound √(2 KL),
    so that noise at a small KL is not taken for a gain."""
    kl, values = (column.tolist() for column in run.series("kl", metric))
    gains = [value - values[0] for value in values]
    if metric == "reward" and of.of_seed is not None:
        deviation = of.of_seed[run.seed]
        gains = [min(gain / deviation, math.sqrt(2 * max(x, 0.0))) for x, gain in zip(kl, gains, strict=True)]
    return kl, gains


def effect(results: Results, task: str, metric: str, of: Unit) -> float | None:
    """The effect that is asked about: half of the best first-order method's change; ``None`` where that is not above 0
    or there is no such method."""
    means = []
    for method in results.methods_of(task):
        known = find(method)
        if known and known.group == "main" and not known.estimator.zeroth_order:
            values = [change(run, metric, of) for run in results.of(task, method)]
            if whole := [value for value in values if value is not None]:
                means += [statistics.mean(whole)] if len(whole) == len(values) else []
    best = max(means, default=0.0)
    return best / 2 if best > 0 else None


def mean_effect(results: Results, tasks: Sequence[str], metric: str, units: Mapping[str, Unit]) -> float | None:
    """Mean of :func:`effect` over tasks; ``None`` where one of them has none."""
    found = [one for task in tasks if (one := effect(results, task, metric, units[task])) is not None]
    return statistics.mean(found) if len(found) == len(tasks) else None


def seen(found: Difference, asked: float | None) -> bool:
    """Whether ``found`` says anything: it differs from 0, or an effect as large as ``asked`` would have."""
    return asked is None or found.detectable is None or not found.holds_zero or found.detectable <= asked


def differences(results: Results, tasks: Sequence[str], method: str, other: str | None,
                units: Mapping[str, Unit], metric: str = "reward") -> list[float]:
    """Change of a test metric of ``method`` minus that of ``other`` (of π₀ if ``None``) for each (task, seed) that both
    have; empty where a run of them diverged or lacks it."""
    found = []
    for task in tasks:
        theirs = {run.seed: run for run in results.of(task, other)} if other else {}
        for run in results.of(task, method):
            if other and run.seed not in theirs:
                continue
            ours = change(run, metric, units[task])
            base = change(theirs[run.seed], metric, units[task]) if other else 0.0
            if ours is None or base is None:
                return []
            found.append(ours - base)
    return found

"""What several runs say together: normalised scores, their aggregate over tasks, mean curves, budget to a target.

A normalised score is a reward increase in standard deviations of r₀ on π₀'s completions of the same task and seed
(``scale``). Statistics follow rliable (Agarwal et al. 2021).
Every interval is drawn from a generator seeded by a constant, so that the same runs give the same report.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmark.core import statistics
from benchmark.reporting.read import scale
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import number

TARGETS = (0.5, 0.9)  # shares of the reference level, which older searches froze
SEED = 0

Scores = dict[str, dict[str, list[float | None]]]


class Curve(NamedTuple):
    """Mean curve over n seeds: (points,) grid, mean and ends of the interval; empty where a method has no run.

    ``low`` and ``high`` are ``None`` for a single seed without standard errors; ``sampled`` says that they come from
    those, of prompts and completions, instead of from seeds.
    """

    grid: np.ndarray
    mean: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    n: int
    sampled: bool = False


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; ``low`` and ``high`` are ``None`` where there are too few seeds for one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Aggregate:
    """One method over all tasks.

    Attributes:
        score: interquartile mean of the normalised scores over seeds × tasks; ``None`` where ``word`` stands instead.
        word: "diverged (1 of 15 runs)" or "n/a (2 of 3 tasks)", empty where there is a number.
        n: number of runs, diverged ones included.
        tasks: task → mean normalised score over seeds, or ``None`` (a seed diverged, or there is no run).
    """

    method: str
    score: Estimate | None
    word: str
    n: int
    tasks: dict[str, float | None]


def _rng() -> np.random.Generator:
    return np.random.default_rng(SEED)


def reference_increase(results: Results, task: str) -> float | None:
    """Reward increase that counts as 1 on ``task`` (r₀ score), as frozen in the runs' settings; ``None`` where none is.

    The reader has refused runs of one task whose levels differ.
    """
    return number(results.of(task)[0].section("evaluation").get("reference_increase")) or None


def increases(results: Results) -> Scores:
    """Method → task → test reward increase of each seed (r₀ score), ``None`` for one that diverged.

    Tasks that a method has no run of are missing.
    """
    found: Scores = {}
    for method in results.methods:
        for task in results.tasks:
            if runs := results.of(task, method):
                found.setdefault(method, {})[task] = [run.increase for run in runs]
    return found


def scores(results: Results) -> Scores | None:
    """``increases`` in standard deviations of r₀, seed by seed; 0 is π₀.

    ``None`` when they are not known for every task: a mean over the other tasks would be another benchmark.
    """
    units = {task: scale.unit(results, task) for task in results.tasks}
    if any(unit.of_seed is None for unit in units.values()):
        return None
    return {method: {task: [scale.change(run, "reward", units[task]) for run in results.of(task, method)]
                     for task in found} for method, found in increases(results).items()}


def word(results: Results, method: str) -> str:
    """What stands for a method that has no number over all tasks; empty where it has one."""
    by_task = increases(results).get(method, {})
    runs = [run for run in results.runs if run.method == method]
    if lost := sum(run.diverged for run in runs):
        return f"diverged ({lost} of {len(runs)} runs)"
    if gone := sum(value is None for values in by_task.values() for value in values):
        return f"n/a ({gone} of {len(runs)} runs have no reward)"
    if len(by_task) < len(results.tasks):
        return f"n/a ({len(by_task)} of {len(results.tasks)} tasks)"
    return ""


def aggregate(results: Results) -> list[Aggregate]:
    """Every method over all tasks, in the order of ``results.methods``; empty without scores."""
    found = scores(results)
    if found is None:
        return []
    words = {method: word(results, method) for method in found}
    return [
        Aggregate(
            method=method,
            score=None if words[method] else _estimate(statistics.interquartile_mean, by_task),
            word=words[method],
            n=sum(map(len, by_task.values())),
            tasks={task: _mean(by_task.get(task, [])) for task in results.tasks},
        )
        for method, by_task in found.items()
    ]


def mean_estimate(values: Sequence[float | None]) -> Estimate:
    """Mean of (seeds,) values of one task with its bootstrap interval over seeds."""
    return _estimate(np.mean, {"": values})


def _estimate(statistic: Callable[..., Any], by_task: Mapping[str, Sequence[float | None]]) -> Estimate:
    value = float(statistic(np.concatenate([np.asarray(values, np.float64) for values in by_task.values()])))
    if min(map(len, by_task.values())) < 2:
        return Estimate(value, None, None)
    return Estimate(value, *statistics.stratified_bootstrap(by_task, _rng(), statistic))


def _mean(values: Sequence[float | None]) -> float | None:
    return statistics.mean(values) if values and None not in values else None


def improvements(results: Results) -> dict[str, dict[str, Estimate]]:
    """Method → other method → probability that a run of the first ends with a higher test reward increase.

    Mann–Whitney U / (n·m) within each task, mean over tasks: ranks alone, so that no unit is needed.
    Methods that have no number on every task are missing. The second half of the pairs mirrors the first:
    P(B > A) = 1 − P(A > B).
    """
    whole = {m: by_task for m, by_task in increases(results).items() if not word(results, m)}
    found: dict[str, dict[str, Estimate]] = {method: {} for method in whole}
    for ours, theirs in itertools.combinations(whole, 2):
        pairs = {task: (values, whole[theirs][task]) for task, values in whole[ours].items()}
        value = statistics.mean([statistics.probability_of_improvement(*pair) for pair in pairs.values()])
        estimate = Estimate(value, None, None)
        if min(len(side) for pair in pairs.values() for side in pair) > 1:
            estimate = Estimate(value, *statistics.improvement_bootstrap(pairs, _rng()))
        found[ours][theirs], found[theirs][ours] = estimate, _mirrored(estimate)
    return found


def _mirrored(estimate: Estimate) -> Estimate:
    low, high = estimate.low, estimate.high
    return Estimate(1 - estimate.value, None if high is None else 1 - high, None if low is None else 1 - low)


def curves(results: Results, task: str, method: str, kind: str, points: int = 101, metric: str = "reward", *,
           interval: bool = True) -> Curve:
    """Mean increase of a validation metric over seeds against ``kind``, with its 95 % bootstrap interval over seeds.

    A single seed has that of its prompts and completions (normal, from ``METRIC_se``) where its run recorded it. The
    grid ends where the first seed ends: no curve is extrapolated, and a run that diverged ends at its last finite
    evaluation.

    Args:
        kind: a spent amount, such as "seconds" or "forward_tokens".
        points: size of the grid where it has any width.
        metric: which every run has.
        interval: whether one is wanted.
    """
    pairs = [run.series(kind, metric) for run in results.of(task, method)]
    if not pairs:
        return Curve(np.empty(0), np.empty(0), None, None, 0)
    start, end = max(x[0] for x, _ in pairs), min(x[-1] for x, _ in pairs)
    grid = np.linspace(start, end, points) if end > start else np.array([end])
    heights = np.stack([np.interp(grid, x, y - y[0]) for x, y in pairs])
    low = high = None
    if interval and len(pairs) > 1:
        low, high = statistics.curve_bootstrap(heights, _rng())
    x, error = results.of(task, method)[0].series(kind, f"{metric}_se")
    sampled = interval and len(pairs) == 1 and x.size > 0
    if sampled:
        reach = statistics.NORMAL * np.interp(grid, x, error)
        low, high = heights[0] - reach, heights[0] + reach
    return Curve(grid, heights.mean(axis=0), low, high, len(pairs), sampled)


def targets(results: Results, task: str, target: float, kind: str) -> dict[str, list[float | None]]:
    """Method → budget of ``kind`` that each run spent until its reward increase first reached ``target``.

    Read on the validation curve, in the order of ``results.of(task, method)``; ``None`` for a run that did not reach it
    or diverged.
    """
    found: dict[str, list[float | None]] = {}
    for run in results.of(task):
        x, y = run.series(kind, "reward")
        reached = None if run.diverged else statistics.budget_to_target(x, y - y[0], target)
        found.setdefault(run.method, []).append(reached)
    return found

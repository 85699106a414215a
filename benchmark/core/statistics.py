"""The statistics of the protocol on numpy and scipy alone, with an explicit ``Generator`` wherever chance enters.

Definitions follow rliable (Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
Precipice"), whose package does not import with current pandas. Every function takes plain sequences of floats and
refuses non-finite values: a run that diverged is a word in a table, never a number in a mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

Floats = Sequence[float | None] | np.ndarray  # None is refused as what is not finite is
SAMPLES, LEVEL = 2000, 0.95  # of every interval in a report
NORMAL = float(stats.norm.ppf((1 + LEVEL) / 2))  # its half width in standard errors


def _finite(values: Floats, what: str = "values", least: int = 1) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64).ravel()
    if array.size < least:
        raise ValueError(f"{what}: needs at least {least} value(s), got {array.size}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: contains a value that is not finite")
    return array


def mean(values: Floats) -> float:
    """Arithmetic mean of (n,) values.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    return float(_finite(values).mean())


def sd(values: Floats) -> float | None:
    """Sample standard deviation of (n,) values with n − 1; ``None`` when n = 1, where it is not defined.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    array = _finite(values)
    return float(array.std(ddof=1)) if array.size > 1 else None


def mean_and_error(values: Sequence[float], own: Sequence[float | None] = ()) -> tuple[float, float | None]:
    """Mean of (seeds,) values and its standard error: over seeds or from the errors of the values themselves, whichever
    is larger, for a few seeds can agree by chance; ``None`` where neither is known.

    Args:
        own: standard error of each value, from its prompts and completions.

    Raises:
        ValueError: no values.
    """
    n, deviation = len(values), sd(values)
    errors = [] if deviation is None else [deviation / math.sqrt(n)]
    known = [error for error in own if error is not None]
    if len(known) == n:
        errors.append(math.hypot(*known) / n)
    return mean(values), max(errors, default=None)


def interquartile_mean(values: Floats, axis: int | None = None) -> Any:
    """Mean of the middle half: ⌊n/4⌋ values are cut at each end (``scipy.stats.trim_mean``, as in rliable).

    Args:
        values: scores over seeds (and tasks), any shape.
        axis: along which; ``None`` pools all values.

    Returns:
        A float, or with ``axis`` an array without that axis.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    pooled = _finite(values)
    if axis is None:
        return float(stats.trim_mean(pooled, proportiontocut=0.25))
    return stats.trim_mean(np.asarray(values, dtype=np.float64), proportiontocut=0.25, axis=axis)


def _percentile_bootstrap(
    strata: Sequence[np.ndarray], statistic: Callable[..., Any], rng: np.random.Generator, samples: int, level: float
) -> tuple[Any, Any]:
    """Percentile interval of ``statistic(*strata, axis=…)``, each stratum resampled for itself along its first axis."""
    if not 0 < level < 1 or samples < 1:
        raise ValueError(f"bootstrap: level {level} must lie in (0, 1) and samples {samples} be positive")
    if any(len(stratum) < 2 for stratum in strata):
        raise ValueError("bootstrap: needs at least 2 values in each stratum; one value shows no spread")
    found = stats.bootstrap(
        tuple(strata), statistic, n_resamples=samples, confidence_level=level, method="percentile", vectorized=True,
        axis=0, rng=rng,
    )  # fmt: skip
    return found.confidence_interval.low, found.confidence_interval.high


def stratified_bootstrap(
    scores: Mapping[str, Floats],
    rng: np.random.Generator,
    statistic: Callable[..., Any] = interquartile_mean,
    samples: int = SAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Percentile bootstrap interval of ``statistic`` over all scores, resampled within each task.

    Resampling inside a task keeps every task's weight fixed, so that the interval shows the spread over seeds and not
    which tasks happened to be drawn.

    Args:
        scores: task → (seeds,) scores; counts may differ between tasks, and their order does not matter.
        rng: source of all randomness.
        statistic: (…, total) array and ``axis`` → (…,) array, such as ``np.mean`` and ``np.median``.
        samples: number of resamples.
        level: coverage, strictly between 0 and 1.

    Returns:
        (low, high) in the unit of the scores.

    Raises:
        ValueError: no task, a task with fewer than two values, a value that is not finite, or a level or sample count
            out of range.
    """
    if not scores:
        raise ValueError("stratified_bootstrap: needs at least one task")
    strata = [_finite(scores[task], f"scores of {task!r}") for task in sorted(scores)]

    def pooled(*parts: np.ndarray, axis: int) -> Any:
        return statistic(np.concatenate(parts, axis=axis), axis=axis)

    low, high = _percentile_bootstrap(strata, pooled, rng, samples, level)
    return float(low), float(high)


def curve_bootstrap(
    curves: np.ndarray, rng: np.random.Generator, samples: int = SAMPLES, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap interval of the mean curve at each point; whole curves are drawn, so points stay together.

    Args:
        curves: (runs, points) heights on a common grid.
        rng, samples, level: as in ``stratified_bootstrap``.

    Returns:
        (points,) lower and (points,) upper ends, in the unit of the curves. Each point is covered by itself; the band
        is not simultaneous.

    Raises:
        ValueError: as in ``stratified_bootstrap``.
    """
    _finite(curves, "curves")
    return _percentile_bootstrap([np.asarray(curves, dtype=np.float64)], np.mean, rng, samples, level)


def difference_bootstrap(
    ours: Floats, theirs: Floats, rng: np.random.Generator, samples: int = SAMPLES, level: float = LEVEL
) -> tuple[float, float]:
    """Percentile bootstrap interval of mean(ours) − mean(theirs), two independent samples resampled each for itself.

    For pairs take the differences and ``stratified_bootstrap`` with ``np.mean``.

    Args:
        ours: (n,) values. theirs: (m,) values. rng, samples, level: as in ``stratified_bootstrap``.

    Raises:
        ValueError: as in ``stratified_bootstrap``.
    """
    strata = [_finite(ours, "ours"), _finite(theirs, "theirs")]
    low, high = _percentile_bootstrap(
        strata, lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis), rng, samples, level
    )
    return float(low), float(high)


def _share_above(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(…, n) and (…, m) → (…,): share of the n·m pairs in which ours is higher, ties counted half."""
    a, b = ours[..., :, None], theirs[..., None, :]
    return ((a > b) + 0.5 * (a == b)).mean(axis=(-2, -1))


def probability_of_improvement(ours: Floats, theirs: Floats) -> float:
    """Probability that a run of ``ours`` scores above one of ``theirs``: Mann–Whitney U / (n·m), ties count 1/2.

    Args:
        ours: (n,) scores. theirs: (m,) scores of the baseline on the same task.

    Raises:
        ValueError: an empty side, or a value that is not finite.
    """
    return float(_share_above(_finite(ours, "ours"), _finite(theirs, "theirs")))


def improvement_bootstrap(
    pairs: Mapping[str, tuple[Floats, Floats]],
    rng: np.random.Generator,
    samples: int = SAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the probability of improvement, mean over tasks.

    Args:
        pairs: task → (our (n,) scores, their (m,) scores); both sides are resampled within each task, independently.
        rng, samples, level: as in ``stratified_bootstrap``.

    Raises:
        ValueError: as in ``stratified_bootstrap``.
    """
    if not pairs:
        raise ValueError("improvement_bootstrap: needs at least one task")
    strata = [_finite(side, f"scores of {task!r}") for task, sides in sorted(pairs.items()) for side in sides]

    def over_tasks(*parts: np.ndarray, axis: int) -> np.ndarray:
        sides = [np.moveaxis(part, axis, -1) for part in parts]
        return np.mean([_share_above(a, b) for a, b in zip(sides[::2], sides[1::2], strict=True)], axis=0)

    low, high = _percentile_bootstrap(strata, over_tasks, rng, samples, level)
    return float(low), float(high)


def _curve(x: Floats, y: Floats, least: int) -> tuple[np.ndarray, np.ndarray]:
    xs, ys = _finite(x, "x", least), _finite(y, "y", least)
    if xs.size != ys.size:
        raise ValueError(f"curve: x has {xs.size} points and y has {ys.size}")
    if (np.diff(xs) < 0).any():
        raise ValueError("curve: x must not decrease")
    return xs, ys


def area_under_curve(x: Floats, y: Floats) -> float:
    """Trapezoidal area divided by the x-range: the mean height of the curve, in the unit of y.

    Args:
        x: (n,) positions, not decreasing, n ≥ 2. y: (n,) heights.

    Raises:
        ValueError: fewer than two points, unequal lengths, decreasing x, zero range, or a value that is not finite.
    """
    xs, ys = _curve(x, y, least=2)
    width = xs[-1] - xs[0]
    if width == 0:
        raise ValueError("area_under_curve: x covers no range")
    return float(np.trapezoid(ys, xs) / width)


def frontier(costs: Floats, gains: Floats) -> tuple[np.ndarray, np.ndarray]:
    """The best gain for at most each cost, as (points,) rising costs and gains; begins at (0, 0).

    Between two points it is a line: a mixture of two policies has the mean of their rewards, and a KL that is at most
    the mean of theirs, for KL is convex. Beyond the last point it stays where it is.

    Args:
        costs: (n,) such as the KL of a curve's points; what is below 0 by chance counts as 0. gains: (n,) over π₀.
    """
    xs, ys = [0.0], [0.0]
    for cost, gain in sorted(zip(np.maximum(_finite(costs, "costs"), 0.0), _finite(gains, "gains"), strict=True)):
        if gain > ys[-1]:
            if cost == xs[-1]:
                xs.pop(), ys.pop()
            xs.append(float(cost))
            ys.append(float(gain))
    return np.array(xs), np.array(ys)


def frontier_at(costs: Floats, gains: Floats, cost: float) -> float:
    """The :func:`frontier`'s gain at ``cost``."""
    return float(np.interp(cost, *frontier(costs, gains)))


def frontier_area(costs: Floats, gains: Floats, cost: float) -> float:
    """Mean height of the :func:`frontier` from 0 to ``cost`` > 0, in the unit of the gains."""
    xs, ys = frontier(costs, gains)
    grid = np.append(xs[xs < cost], cost)
    return float(np.trapezoid(np.interp(grid, xs, ys), grid) / cost)


def value_at(x: Floats, y: Floats, at: float) -> float:
    """Height of the curve at ``at``, by linear interpolation.

    Raises:
        ValueError: ``at`` lies outside the curve (a run is never extrapolated), or the curve is malformed as in
            ``area_under_curve``; one point is enough.
    """
    xs, ys = _curve(x, y, least=1)
    if not xs[0] <= at <= xs[-1]:
        raise ValueError(f"value_at: {at} lies outside the curve, which covers {xs[0]} to {xs[-1]}")
    return float(np.interp(at, xs, ys))


def budget_to_target(x: Floats, y: Floats, target: float) -> float | None:
    """First position at which the linearly interpolated curve reaches ``target`` from below; ``None`` if never.

    "Not reached" is an answer of its own; no value beyond the budget stands in for it.

    Raises:
        ValueError: the curve is malformed as in ``area_under_curve``; one point is enough.
    """
    xs, ys = _curve(x, y, least=1)
    hits = np.flatnonzero(ys >= target)
    if hits.size == 0:
        return None
    i = int(hits[0])
    if i == 0:
        return float(xs[0])
    share = (target - ys[i - 1]) / (ys[i] - ys[i - 1])
    return float(xs[i - 1] + share * (xs[i] - xs[i - 1]))


def median_reached(spent: Sequence[float | None]) -> float | None:
    """Budget by which at least half of the runs had reached a target; ``None`` when fewer than half ever did.

    The median of censored values: a run that never reached the target counts as later than all others, and of an even
    number the lower middle one is taken, so that no value stands in for a run that was cut off.

    Args:
        spent: (n,) results of ``budget_to_target``.

    Raises:
        ValueError: no runs, or a value that is not finite.
    """
    reached = sorted(_finite([value for value in spent if value is not None], "spent", least=0))
    if not spent:
        raise ValueError("spent: needs at least 1 value(s), got 0")
    middle = math.ceil(len(spent) / 2)
    return float(reached[middle - 1]) if len(reached) >= middle else None

"""The statistics of the protocol on numpy and scipy alone, with an explicit ``Generator`` wherever chance enters.

Definitions follow rliable (Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
Precipice"), whose package does not import with current pandas. Every function takes plain sequences of floats and
refuses non-finite values: a run that diverged is a word in a table, never a number in a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import stats

Floats = Sequence[float] | np.ndarray


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


def interquartile_mean(values: Floats) -> float:
    """Mean of the middle half: ⌊n/4⌋ values are cut at each end (``scipy.stats.trim_mean``, as in rliable).

    Args:
        values: scores over seeds (and tasks), any shape; flattened.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    return float(stats.trim_mean(_finite(values), proportiontocut=0.25))


def stratified_bootstrap(
    scores: Mapping[str, Floats],
    rng: np.random.Generator,
    statistic: Callable[[np.ndarray], float] = interquartile_mean,
    samples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of ``statistic`` over all scores, resampled within each task.

    Resampling inside a task keeps every task's weight fixed, so that the interval shows the spread over seeds and not
    which tasks happened to be drawn.

    Args:
        scores: task → (seeds,) scores; counts may differ between tasks.
        rng: source of all randomness.
        statistic: (total,) → float.
        samples: number of resamples.
        level: coverage, strictly between 0 and 1.

    Returns:
        (low, high) in the unit of the scores.

    Raises:
        ValueError: no task, an empty task, a value that is not finite, or a level or sample count out of range.
    """
    if not scores:
        raise ValueError("stratified_bootstrap: needs at least one task")
    if not 0 < level < 1 or samples < 1:
        raise ValueError(f"stratified_bootstrap: level {level} must lie in (0, 1) and samples {samples} be positive")
    strata = [_finite(scores[task], f"scores of {task!r}") for task in scores]
    drawn = np.empty(samples)
    for i in range(samples):
        parts = [stratum[rng.integers(0, stratum.size, stratum.size)] for stratum in strata]
        drawn[i] = statistic(np.concatenate(parts))
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def probability_of_improvement(ours: Floats, theirs: Floats) -> float:
    """Probability that a run of ``ours`` scores above one of ``theirs``: Mann–Whitney U / (n·m), ties count 1/2.

    Args:
        ours: (n,) scores. theirs: (m,) scores of the baseline on the same task.

    Raises:
        ValueError: an empty side, or a value that is not finite.
    """
    a, b = _finite(ours, "ours"), _finite(theirs, "theirs")
    above = (a[:, None] > b[None, :]).sum() + 0.5 * (a[:, None] == b[None, :]).sum()
    return float(above / (a.size * b.size))


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

"""Paired comparisons: what two methods differ by where they had the same start, and how well that is known."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from benchmark.core.statistics import LEVEL

POWER = 0.8  # with which a minimal detectable difference is detected
QUANTILES = 10_000
TRIALS, RESAMPLES = 1000, 400  # of a simulated coverage: its error is about 0.01


@dataclass(frozen=True)
class Difference:
    """Mean of n paired differences.

    Attributes:
        low, high: ends of Student's 95 % interval. p: of the paired t-test. wilcoxon: p of the signed-rank test, which
            assumes no distribution and cannot be below 2^(1 − n). detectable: minimal detectable difference. All are
            ``None`` for a single pair.
    """

    mean: float
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    wilcoxon: float | None = None
    detectable: float | None = None

    @property
    def holds_zero(self) -> bool:
        return self.low is not None and self.high is not None and self.low <= 0 <= self.high


def difference(values: Sequence[float]) -> Difference:
    """What the mean of (n,) paired differences says.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("paired difference: needs at least one pair")
    array = np.asarray(values, dtype=np.float64)
    mean, n = float(array.mean()), len(array)
    if n < 2:
        return Difference(mean, n)
    deviation = float(array.std(ddof=1))
    if deviation <= 1e-12 * max(1.0, abs(mean)):  # all alike: nothing is left to chance
        p = float(abs(mean) <= 1e-12)
        return Difference(mean, n, mean, mean, p, p or 2.0 ** (1 - n), 0.0)
    test = stats.ttest_1samp(array, 0.0)
    low, high = test.confidence_interval(LEVEL)
    return Difference(mean, n, float(low), float(high), float(test.pvalue), float(stats.wilcoxon(array).pvalue),
                      minimal_detectable(deviation, n))


def minimal_detectable(deviation: float, n: int) -> float:
    """The true mean difference that a two-sided paired t-test of n pairs at 5 % finds with a power of 80 %.

    Args:
        deviation: standard deviation of the differences. n: number of pairs, at least 2.
    """
    return _noncentrality(n) * deviation / math.sqrt(n)


@functools.cache
def _noncentrality(n: int) -> float:
    """Noncentrality of Student's t at which the test has its power.

    scipy's noncentral t is NaN far out where n = 2; so P(|t| > c) is averaged over quantiles of the standard deviation.
    """
    freedom = n - 1
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    limits = stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(stats.chi2.ppf(shares, freedom) / freedom)

    def missing(shift: float) -> float:
        return float(np.mean(stats.norm.sf(limits - shift) + stats.norm.cdf(-limits - shift))) - POWER

    return float(optimize.brentq(missing, 0.1, 100.0))


def holm(ps: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979): the i-th smallest of m times m − i + 1, never falling, at most 1.
    """
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, (len(ps) - rank) * ps[place])
        adjusted[place] = min(1.0, highest)
    return adjusted


@functools.cache
def student_coverage(n: int) -> tuple[float, float]:
    """How often Student's 95 % interval of n ≥ 2 values covers the truth, simulated for normal and exponential values.
    """
    rng, shares = np.random.default_rng(0), []
    for values in (rng.standard_normal((20 * TRIALS, n)), rng.exponential(size=(20 * TRIALS, n)) - 1):
        reach = stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(axis=1, ddof=1) / math.sqrt(n)
        shares.append(float((abs(values.mean(axis=1)) <= reach).mean()))
    return shares[0], shares[1]


@functools.cache
def coverage(sizes: tuple[int, ...], trimmed: bool) -> float:
    """How often a 95 % percentile bootstrap interval covers the truth, simulated for normal values of one variance.

    Args:
        sizes: seeds of each task, at least 2; seeds are drawn within a task.
        trimmed: of the interquartile mean; else of the mean.
    """
    rng, n = np.random.default_rng(0), sum(sizes)
    values = rng.standard_normal((TRIALS, n))
    starts = np.cumsum((0, *sizes[:-1]))
    drawn = np.concatenate([start + rng.integers(0, size, (RESAMPLES, size))
                            for start, size in zip(starts, sizes, strict=True)], axis=1)
    tail = (1 - LEVEL) / 2
    hits = 0
    for row in values:
        sample = row[drawn]
        centres = stats.trim_mean(sample, 0.25, axis=1) if trimmed else sample.mean(axis=1)
        low, high = np.quantile(centres, [tail, 1 - tail])
        hits += bool(low <= 0 <= high)
    return hits / TRIALS

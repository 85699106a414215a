"""Paired statistics against values computed by hand, from tables and by simulation."""

import numpy as np
import pytest
from scipy import stats

from benchmark.core import paired


def test_a_difference_by_hand():
    # mean 2, deviation 1, t = 2 / (1/√3) = 3.464; t(2) at 97.5 % is 4.303
    found = paired.difference([1.0, 2.0, 3.0])
    assert (found.mean, found.n) == (2.0, 3)
    assert (found.low, found.high) == (pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-3), pytest.approx(2 + 4.3027 / 3**0.5,
                                                                                                abs=1e-3))
    assert found.p == pytest.approx(0.0742, abs=1e-4) and found.wilcoxon == 0.25 and found.holds_zero


def test_one_pair_shows_no_spread_and_equal_ones_leave_nothing_to_chance():
    assert paired.difference([0.5]) == paired.Difference(0.5, 1)
    same = paired.difference([0.5, 0.5, 0.5])
    assert (same.low, same.high, same.p, same.wilcoxon, same.detectable) == (0.5, 0.5, 0.0, 0.25, 0.0)
    nothing = paired.difference([0.0, 0.0])
    assert (nothing.p, nothing.wilcoxon) == (1.0, 1.0) and nothing.holds_zero
    with pytest.raises(ValueError, match="at least one pair"):
        paired.difference([])


@pytest.mark.parametrize(("n", "expected"), [(5, 1.68), (10, 1.00), (15, 0.778), (20, 0.660)])
def test_minimal_detectable_difference_is_that_of_power_tables(n, expected):
    assert paired.minimal_detectable(1.0, n) == pytest.approx(expected, abs=0.006)
    assert paired.minimal_detectable(3.0, n) == pytest.approx(3 * paired.minimal_detectable(1.0, n))


def test_minimal_detectable_difference_is_detected_in_80_percent():
    draws = np.random.default_rng(1).standard_normal((20_000, 5)) + paired.minimal_detectable(1.0, 5)
    assert np.mean(stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.01)


def test_holm_by_hand():
    # 3 · 0.01, 2 · 0.02, 1 · 0.03, which may not fall below the one before
    assert paired.holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert paired.holm([0.5, 0.6]) == [1.0, 1.0] and paired.holm([]) == []


def test_coverage_of_a_bootstrap_interval():
    # Resampled means have a deviation of s·√((n − 1)/n)/√n: P(|t(n − 1)| < 1.96·√((n − 1)/n)), normal approximation
    for n in (5, 40):
        expected = 1 - 2 * stats.t.sf(1.96 * ((n - 1) / n) ** 0.5, n - 1)
        assert paired.coverage((n,), False) == pytest.approx(expected, abs=0.03)
    assert paired.coverage((5,), False) < paired.coverage((5, 5, 5), True) < 0.95


def test_coverage_of_students_interval():
    normal, skewed = paired.student_coverage(5)
    assert normal == pytest.approx(0.95, abs=0.006)
    # of exponential values it is known to be too short: about 0.88 for n = 5
    assert skewed == pytest.approx(0.88, abs=0.01) and skewed < paired.student_coverage(40)[1] < 0.95

"""Every value here was computed by hand."""

import numpy as np
import pytest

from benchmark import statistics as st


def test_mean_and_sample_sd():
    assert st.mean([1, 2, 6]) == 3
    # squares of the deviations: 4 + 1 + 9 = 14, over n − 1 = 2
    assert st.sd([1, 2, 6]) == pytest.approx(7**0.5)
    assert st.sd([4.2]) is None


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
@pytest.mark.parametrize("function", [st.mean, st.sd, st.interquartile_mean])
def test_no_values_and_values_that_are_not_finite_are_refused(function, values):
    with pytest.raises(ValueError, match=r"needs at least 1|not finite"):
        function(values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 2, 100], 1.5),  # one cut at each end
        ([100, 5, 1, 3, 4, 2, 0, -50], 2.5),  # two cut at each end leave 1 2 3 4
        ([1, 2, 9], 4.0),  # fewer than four: nothing to cut
        ([[0, 1], [2, 100]], 1.5),  # runs × tasks are pooled
    ],
)
def test_interquartile_mean(values, expected):
    assert st.interquartile_mean(values) == expected


def test_bootstrap_of_constant_tasks_has_no_width():
    """Within-task resampling of constants changes nothing, though the tasks differ."""
    low, high = st.stratified_bootstrap({"a": [1.0] * 4, "b": [3.0] * 4}, np.random.default_rng(0), np.mean)
    assert (low, high) == (2.0, 2.0)


def test_bootstrap_quantiles_of_a_coin():
    """Two scores 0 and 1: the resampled mean is 0, 1/2, 1 with probability 1/4, 1/2, 1/4."""
    rng = np.random.default_rng(1)
    assert st.stratified_bootstrap({"a": [0.0, 1.0]}, rng, np.mean, level=0.95) == (0.0, 1.0)
    assert st.stratified_bootstrap({"a": [0.0, 1.0]}, rng, np.mean, level=0.30) == (0.5, 0.5)


def test_bootstrap_covers_about_what_it_says():
    """Mean of 30 normal values, 200 repetitions: coverage within four standard errors of 95 % (and its known bias)."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        low, high = st.stratified_bootstrap({"t": rng.normal(5, 1, 30)}, rng, np.mean, samples=300)
        hits += low <= 5 <= high
    assert 0.87 <= hits / 200 <= 0.99


def test_bootstrap_repeats_with_the_same_generator_and_refuses_nonsense():
    scores = {"a": [0.1, 0.5, 0.9], "b": [1.0, 2.0]}
    first, second = (st.stratified_bootstrap(scores, np.random.default_rng(3)) for _ in range(2))
    assert first == second
    for bad in ({}, {"a": []}, {"a": [float("nan")]}):
        with pytest.raises(ValueError):
            st.stratified_bootstrap(bad, np.random.default_rng(0))
    with pytest.raises(ValueError, match="level"):
        st.stratified_bootstrap(scores, np.random.default_rng(0), level=1.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([2, 3], [0, 1], 1.0),
        ([0, 1], [2, 3], 0.0),
        ([1, 3], [2], 0.5),
        ([1, 2], [1, 2], 0.5),  # wins 1, ties 2 · 1/2, of 4
        ([1, 2, 3], [2, 2], 0.5),  # wins 2, ties 2 · 1/2, of 6
        ([5], [5, 1, 1, 9], 0.625),  # wins 2, one tie, of 4
    ],
)
def test_probability_of_improvement(ours, theirs, expected):
    assert st.probability_of_improvement(ours, theirs) == pytest.approx(expected)


def test_probability_of_improvement_is_mann_whitney():
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 6, 9), rng.integers(0, 6, 7)
    assert st.probability_of_improvement(a, b) == pytest.approx(mannwhitneyu(a, b).statistic / 63)


def test_area_under_curve_is_the_mean_height():
    assert st.area_under_curve([0, 10], [1, 3]) == 2
    # (0 + 2)/2 · 1 + 2 · 3 = 7 over a range of 4
    assert st.area_under_curve([2, 3, 6], [0, 2, 2]) == pytest.approx(1.75)


def test_value_at_interpolates_and_never_extrapolates():
    assert st.value_at([0, 4, 8], [1, 3, -1], 1) == 1.5
    assert st.value_at([0, 4, 8], [1, 3, -1], 8) == -1
    for outside in (-0.1, 8.1):
        with pytest.raises(ValueError, match="outside"):
            st.value_at([0, 4, 8], [1, 3, -1], outside)


def test_budget_to_target():
    x, y = [0, 10, 20, 30], [0.0, 1.0, 0.5, 2.0]
    assert st.budget_to_target(x, y, 0.5) == 5
    assert st.budget_to_target(x, y, 1.25) == 25  # the dip is crossed again, half way from 0.5 to 2
    assert st.budget_to_target(x, y, -1) == 0
    assert st.budget_to_target(x, y, 2.0) == 30
    assert st.budget_to_target(x, y, 2.1) is None


@pytest.mark.parametrize(("x", "y"), [([0, 2, 1], [0, 1, 2]), ([0, 1], [0]), ([3, 3], [0, 1]), ([0], [1])])
def test_malformed_curves_are_refused(x, y):
    with pytest.raises(ValueError):
        st.area_under_curve(x, y)

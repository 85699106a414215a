"""Every value here was computed by hand."""

import numpy as np
import pytest

from benchmark.core import statistics as st


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


def test_interquartile_mean_along_an_axis():
    table = [[0, 1, 2, 100], [5, 5, 7, 9]]
    assert st.interquartile_mean(table, axis=1).tolist() == [1.5, 6.0]
    assert st.interquartile_mean(np.transpose(table), axis=0).tolist() == [1.5, 6.0]


def test_bootstrap_resamples_within_tasks_as_a_loop_over_seeds_does():
    """Against every resample there is: two tasks of two seeds have 4 × 4 equally probable resamples."""
    a, b = [0.0, 1.0], [10.0, 14.0]
    every = [np.mean([x, y, z, w]) for x in a for y in a for z in b for w in b]
    low, high = st.stratified_bootstrap({"a": a, "b": b}, np.random.default_rng(5), np.mean, samples=20_000, level=0.4)
    assert (low, high) == (np.quantile(every, 0.3), np.quantile(every, 0.7)) == (6.0, 6.5)
    low, high = st.stratified_bootstrap({"a": a, "b": b}, np.random.default_rng(5), np.mean, level=0.999)
    assert (low, high) == (5.0, 7.5)  # all lowest: (0 + 0 + 10 + 10)/4; all highest: (1 + 1 + 14 + 14)/4


def test_bootstrap_does_not_depend_on_the_order_of_tasks_and_refuses_a_single_seed():
    one, two = {"a": [0.0, 1.0, 5.0], "b": [2.0, 9.0]}, {"b": [2.0, 9.0], "a": [0.0, 1.0, 5.0]}
    first, second = (st.stratified_bootstrap(scores, np.random.default_rng(6)) for scores in (one, two))
    assert first == second
    with pytest.raises(ValueError, match="at least 2"):
        st.stratified_bootstrap({"a": [1.0, 2.0], "b": [1.0]}, np.random.default_rng(0))


def test_curve_bootstrap_draws_whole_curves():
    """Two mirrored curves: drawn whole, the mean is (0, 4), (2, 2) or (4, 0), never low at both points at once."""
    low, high = st.curve_bootstrap(np.array([[0.0, 4.0], [4.0, 0.0]]), np.random.default_rng(7), level=0.9)
    assert (low.tolist(), high.tolist()) == ([0, 0], [4, 4])
    sums = st.curve_bootstrap(np.array([[0.0, 4.0, 4.0], [4.0, 0.0, 4.0]]), np.random.default_rng(7), level=0.2)
    assert sums[0].tolist() == sums[1].tolist() == [2, 2, 4]  # a constant point has no width
    with pytest.raises(ValueError, match="at least 2"):
        st.curve_bootstrap(np.zeros((1, 3)), np.random.default_rng(0))


def test_difference_bootstrap():
    """Means are 0, 1/2, 1 and 10, 11, 12 with probability 1/4, 1/2, 1/4 each; their differences follow."""
    rng = np.random.default_rng(8)
    assert st.difference_bootstrap([10.0, 12.0], [0.0, 1.0], rng, level=0.99) == (9.0, 12.0)
    differences = np.subtract.outer([10, 11, 11, 12], [0, 0.5, 0.5, 1]).ravel()
    found = st.difference_bootstrap([10.0, 12.0], [0.0, 1.0], rng, samples=20_000, level=0.5)
    assert found == (np.quantile(differences, 0.25), np.quantile(differences, 0.75))
    assert st.difference_bootstrap([3.0, 3.0], [1.0, 1.0], rng) == (2.0, 2.0)


def test_improvement_bootstrap():
    """Task a: always better, 1. Task b: ours [0, 2] against [1, 1]: 0, 1/2 or 1. Mean over tasks: 1/2, 3/4 or 1."""
    pairs = {"a": ([5.0, 6.0], [1.0, 2.0]), "b": ([0.0, 2.0], [1.0, 1.0])}
    assert st.improvement_bootstrap(pairs, np.random.default_rng(9), level=0.9) == (0.5, 1.0)
    assert st.improvement_bootstrap(pairs, np.random.default_rng(9), level=0.3) == (0.75, 0.75)
    with pytest.raises(ValueError, match="at least one task"):
        st.improvement_bootstrap({}, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("spent", "expected"),
    [
        ([3.0, 1.0, 2.0], 2.0),
        ([3.0, 1.0, None], 3.0),  # the median of 1, 3, never
        ([1.0, None, None], None),
        ([4.0, 2.0, None, None], 4.0),  # half of four had reached it by then
        ([4.0, 2.0, 8.0, 6.0], 4.0),  # the lower middle one
        ([5.0], 5.0),
        ([None], None),
        ([1.0, 2.0, None, None, None], None),
        ([1.0, 2.0, 7.0, None, None], 7.0),
    ],
)
def test_median_reached(spent, expected):
    assert st.median_reached(spent) == expected


def test_median_reached_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        st.median_reached([])
    with pytest.raises(ValueError, match="not finite"):
        st.median_reached([float("inf"), 1.0])


def test_mean_and_error_takes_the_larger_error():
    assert st.mean_and_error([1.0], [0.2]) == (1.0, 0.2) and st.mean_and_error([1.0]) == (1.0, None)


def test_frontier_by_hand():
    # sorted by cost: (0.1, 1), (0.2, 0.5) is no gain, (0.4, 2), (0.4, 3) is better at the same cost
    costs, gains = [0.4, 0.1, 0.4, 0.2], [2.0, 1.0, 3.0, 0.5]
    xs, ys = st.frontier(costs, gains)
    assert xs.tolist() == [0.0, 0.1, 0.4] and ys.tolist() == [0.0, 1.0, 3.0]
    assert st.frontier_at(costs, gains, 0.25) == pytest.approx(2.0) and st.frontier_at(costs, gains, 9.0) == 3.0
    # up to 0.2: triangle 0.1 · 1 / 2, then 0.1 · (1 + 1.667) / 2; of 0.2
    assert st.frontier_area(costs, gains, 0.2) == pytest.approx((0.05 + 0.1 * (1 + 5 / 3) / 2) / 0.2)
    # beyond the last point it is level: up to 0.8 add 0.3 · 2 and 0.4 · 3
    assert st.frontier_area(costs, gains, 0.8) == pytest.approx((0.05 + 0.6 + 1.2) / 0.8)


def test_a_frontier_never_falls_below_where_it_begins():
    xs, ys = st.frontier([-1e-3, 0.5], [-1.0, -2.0])
    assert xs.tolist() == [0.0] and ys.tolist() == [0.0]
    assert st.frontier_at([-1e-3], [0.5], 0.0) == 0.5  # below 0 by chance

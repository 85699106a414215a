"""Aggregates of hand-made runs; every value was computed by hand."""

import shutil

import numpy as np
import pytest

from benchmark.core import statistics
from benchmark.reporting.read import aggregate, reader
from tests.benchmark.reporting.golden import make
from tests.benchmark.reporting.made import finished


def run_of(task="t", method="m", seed=0, level=1.0, end=1.0, curve=((0, 0.0), (10, 1.0)), diverged=False, workers=1):
    """A run whose test reward rises by ``end`` from 2 and whose validation increase is ``curve`` (seconds, height).
    ``level``: the frozen reference level, and the standard deviation of r₀ over π₀'s completions."""
    rows = [{"spent": {"seconds": s, "forward_tokens": 100 * s}, "metrics": {"reward": 5 + y}} for s, y in curve]
    summary = {
        "status": "diverged" if diverged else "done",
        "initial": {"test": {"reward": 2.0}},
        "final": None if diverged else {"test": {"reward": 2.0 + end}},
    }
    start = {"reward_accuracy": 1.0, "held_out_pairs": 1, "judge": {"kind": "gold"}, "reward_sd": level}
    return finished(task, method, seed, summary, rows, config={"evaluation": {"reference_increase": level}},
                    environment={"workers": workers, "preparation": start})


def results_of(*runs):
    return reader.Results(runs, (), ("m", "other"))


def test_scores_are_in_deviations_of_the_reward_model_of_task_and_seed():
    results = results_of(run_of(end=0.5, level=2.0), run_of(end=3.0, level=6.0, seed=1), run_of("u", end=1, level=4.0))
    assert aggregate.reference_increase(results, "t") == 2.0
    assert aggregate.scores(results) == {"m": {"t": [0.25, 0.5], "u": [0.25]}}
    assert aggregate.increases(results) == {"m": {"t": [0.5, 3.0], "u": [1.0]}}


@pytest.mark.parametrize("level", [0.0, 0, None])
def test_without_a_unit_on_every_task_there_are_no_scores(level):
    results = results_of(run_of(), run_of("u", level=level))
    assert aggregate.reference_increase(results, "u") is None
    assert aggregate.scores(results) is None
    assert aggregate.aggregate(results) == []


def test_aggregate_is_the_interquartile_mean_over_seeds_and_tasks():
    ends = {"t": [0.0, 1.0, 2.0, 9.0], "u": [4.0, 5.0, 6.0, 7.0]}
    runs = [run_of(task, seed=seed, end=end) for task, values in ends.items() for seed, end in enumerate(values)]
    (found,) = aggregate.aggregate(results_of(*runs))
    # 0 1 | 2 4 5 6 | 7 9
    assert (found.method, found.n, found.word) == ("m", 8, "")
    assert found.score.value == pytest.approx(4.25)
    assert found.tasks == {"t": pytest.approx(3.0), "u": pytest.approx(5.5)}
    expected = statistics.stratified_bootstrap(ends, np.random.default_rng(aggregate.SEED))
    assert (found.score.low, found.score.high) == pytest.approx(expected)
    assert found.score.low < 4.25 < found.score.high


def test_one_seed_has_no_interval():
    (found,) = aggregate.aggregate(results_of(run_of(), run_of("u"), run_of("u", seed=1)))
    assert found.score == aggregate.Estimate(pytest.approx(1.0), None, None)
    assert aggregate.mean_estimate([3.0]) == aggregate.Estimate(3.0, None, None)
    assert aggregate.mean_estimate([3.0, 3.0]) == aggregate.Estimate(3.0, 3.0, 3.0)


def test_a_diverged_run_and_a_missing_task_are_words():
    runs = [
        run_of(), run_of("u"), run_of(seed=1, diverged=True),
        run_of(method="other", end=2.0), run_of(method="third"), run_of("u", "third", end=0.5),
    ]  # fmt: skip
    found = {entry.method: entry for entry in aggregate.aggregate(results_of(*runs))}
    assert (found["m"].word, found["m"].score) == ("diverged (1 of 3 runs)", None)
    assert found["m"].tasks == {"t": None, "u": 1.0}
    assert (found["other"].word, found["other"].score) == ("n/a (1 of 2 tasks)", None)
    assert found["other"].tasks == {"t": 2.0, "u": None}
    assert (found["third"].word, found["third"].score.value) == ("", 0.75)
    assert aggregate.scores(results_of(*runs))["m"]["t"] == [1.0, None]
    assert aggregate.improvements(results_of(*runs)) == {"third": {}}


def test_improvement_is_the_mean_over_tasks_and_mirrored():
    ends = {("t", "m"): [1, 3], ("t", "other"): [2, 2], ("u", "m"): [5, 6], ("u", "other"): [5, 1]}
    runs = [run_of(t, m, seed, end=end) for (t, m), values in ends.items() for seed, end in enumerate(values)]
    found = aggregate.improvements(results_of(*runs))
    # task t: 2 of 4 pairs; task u: wins 3, one tie, of 4
    assert found["m"]["other"].value == pytest.approx((0.5 + 0.875) / 2)
    assert found["other"]["m"].value == pytest.approx((0.5 + 0.125) / 2)
    ours, theirs = found["m"]["other"], found["other"]["m"]
    assert (theirs.low, theirs.high) == pytest.approx((1 - ours.high, 1 - ours.low))
    assert 0 <= ours.low <= ours.value <= ours.high <= 1
    raw = [run_of(t, m, seed, level=0, end=e) for (t, m), v in ends.items() for seed, e in enumerate(v)]
    assert aggregate.improvements(results_of(*raw)) == found  # ranks need no level


def test_curves_end_with_the_first_seed_and_start_with_the_last():
    runs = [run_of(curve=[(0, 0), (4, 4)]), run_of(seed=1, curve=[(0, 0), (2, 1), (8, 4)])]
    curve = aggregate.curves(results_of(*runs), "t", "m", "seconds", points=3)
    assert curve.grid.tolist() == [0, 2, 4]
    assert curve.mean.tolist() == [0, 1.5, 3]  # 0 2 4 and 0 1 2
    assert (curve.low.tolist(), curve.high.tolist()) == ([0, 1, 2], [0, 2, 4])
    assert curve.n == 2
    tokens = aggregate.curves(results_of(*runs), "t", "m", "forward_tokens", points=3)
    assert tokens.grid.tolist() == [0, 200, 400] and tokens.mean.tolist() == curve.mean.tolist()


def test_curves_of_one_seed_of_none_and_of_a_run_that_diverged_at_once():
    one = aggregate.curves(results_of(run_of()), "t", "m", "seconds", points=2)
    assert (one.mean.tolist(), one.low, one.high, one.n) == ([0, 1], None, None, 1)
    assert aggregate.curves(results_of(run_of()), "t", "other", "seconds").n == 0
    runs = [run_of(), run_of(seed=1, curve=[(0, 0.0), (5, float("nan"))], diverged=True)]
    ended = aggregate.curves(results_of(*runs), "t", "m", "seconds", points=9)
    assert (ended.grid.tolist(), ended.mean.tolist(), ended.n) == ([0], [0], 2)


def test_targets_are_read_on_the_validation_curve():
    runs = [
        run_of(level=4.0, curve=[(0, 0), (10, 4)]), run_of(seed=1, level=4.0, curve=[(0, 0), (10, 1)]),
        run_of(seed=2, level=4.0, curve=[(0, 0), (10, 4)], diverged=True),
        run_of(method="other", level=4.0, curve=[(0, 0), (2, 3), (4, 1)]),
    ]  # fmt: skip
    results = results_of(*runs)
    assert aggregate.targets(results, "t", 2.0, "seconds") == {"m": [5.0, None, None], "other": [pytest.approx(4 / 3)]}
    found = aggregate.targets(results, "t", 3.6, "forward_tokens")
    assert found == {"m": [pytest.approx(900), None, None], "other": [None]}


def test_nothing_depends_on_the_order_of_the_folder(tmp_path):
    shutil.copytree(make.RUNS, tmp_path / "out")
    titles = {"wmt20_mlqe": "W", "hh_rlhf": "H"}
    one = reader.read(make.RUNS, method_order=make.METHOD_ORDER)
    two = reader.read(tmp_path / "out", method_order=make.METHOD_ORDER, task_titles=titles)
    assert one.tasks != two.tasks
    assert aggregate.aggregate(one) == aggregate.aggregate(two)
    assert aggregate.improvements(one) == aggregate.improvements(two)

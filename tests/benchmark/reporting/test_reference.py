"""The committed reference results: their tables are what the report makes of their run directories, to the byte;
and the committed search is what its own trials say."""

from __future__ import annotations

import shutil
import tomllib
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from baselines.registry import ORDER, get_method, method_groups
from benchmark.core.naming import load
from benchmark.plan.resolve import load_profile
from benchmark.reporting import report
from benchmark.reporting.read.reader import read
from tasks import TASKS, WORLDS

ROOT = Path(__file__).parents[3]
FOLDERS = ROOT / "results" / "reference"
REFERENCE = FOLDERS / "tiny"
LATER = {"mezo-warm", "zopro-last-update", "zopro-start-norm", "zopro-rewarm", "zopro-scaled-lr", "zopro-off-previous",
         "zopro-along-reward", "zopro-plus-reward"}  # methods that came after the set
TUNED = ROOT / "benchmark" / "plan" / "profiles" / "tuned" / "tiny.toml"
TITLES = {name: load(target).title for name, target in TASKS.items()}


@pytest.fixture(scope="module")
def runs():
    return read(REFERENCE).runs


@pytest.mark.parametrize("name", ["tiny", "tiny_ablation", "zo"])
def test_tables_and_page_are_reproduced(name, tmp_path, monkeypatch):
    """To update a committed report after a wanted change: ``python -m benchmark report results/reference/NAME``.

    Figures are named but not drawn, which takes most of the time of a report; their bytes change with fonts.
    """
    def name_only(figure, stem):
        paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]
        for path in paths:
            path.touch()
        return paths

    monkeypatch.setattr("benchmark.reporting.plots.write.save", name_only)
    shutil.copytree(FOLDERS / name, tmp_path / name, ignore=shutil.ignore_patterns("report", "diagnose"))
    report(tmp_path / name, method_order=ORDER, task_titles=TITLES)
    rebuilt, kept = tmp_path / name / "report", FOLDERS / name / "report"
    names = {p.name for p in rebuilt.iterdir()}
    assert names == {p.name for p in kept.iterdir()}
    for file in sorted(file for file in names if Path(file).suffix in (".csv", ".md", ".tex")):
        assert (rebuilt / file).read_text() == (kept / file).read_text(), file


def test_the_grid_is_whole_and_all_start_at_the_same_point(runs):
    methods = {*method_groups()["main"], *method_groups()["ablation"]} - LATER
    assert Counter((r.task, r.method, r.seed) for r in runs) == Counter(
        (task, method, seed) for task in WORLDS for method in methods - {"frozen"} | {"no-update"} for seed in range(5))
    for task in WORLDS:
        for seed in range(5):
            assert len({str(r.summary.initial) for r in runs if (r.task, r.seed) == (task, seed)}) == 1, (task, seed)


def test_all_come_from_one_clean_commit_and_none_was_interrupted(runs):
    assert len({r.environment.commit for r in runs}) == 1 and not any(r.environment.dirty for r in runs)
    assert [r.summary.resumed.count for r in runs] == [0] * len(runs)


def test_a_policy_without_updates_stays_where_it_is(runs):
    still = [r.summary.reward_increase for r in runs if r.method == "no-update"]
    assert still == [0.0] * len(WORLDS) * 5


@pytest.mark.parametrize("method", ["rloo", "ppo"])
def test_first_order_methods_raise_the_test_reward_on_every_task(runs, method):
    increases = [r.summary.reward_increase for r in runs if r.method == method]
    assert increases and min(increases) > 0


def test_reward_models_rank_held_out_pairs(runs):
    assert min(r.environment.preparation.reward_accuracy for r in runs) >= 0.8


def test_the_search_is_what_its_trials_say():
    """Eight trials a method, by the rule of the time: the highest mean over tasks of increase over the best one."""
    search = tomllib.loads(TUNED.read_text())
    trials = pd.read_csv(TUNED.with_name("tiny_trials.csv"))
    ends = trials[[f"{task} increase [r0 score]" for task in search["search"]["tasks"]]]
    levels = [search["reference_increase"][task] for task in search["search"]["tasks"]]
    assert list(ends.max()) == levels
    assert trials["score"].tolist() == pytest.approx((ends / levels).mean(axis=1).tolist(), abs=1e-6)
    best = trials.loc[trials.groupby("method")["score"].idxmax()].set_index("method")
    assert best["trial"].to_dict() == search["chosen"] and set(search["chosen"]) == {*method_groups()["main"]}


def test_the_profile_uses_the_search(runs):
    search, profile = tomllib.loads(TUNED.read_text()), load_profile("tiny")
    for method, values in search["methods"].items():
        assert values.items() <= get_method(method).resolved(profile.methods).items()
    for run in runs:
        level = search["reference_increase"][run.task]
        assert run.config["evaluation"]["reference_increase"] == pytest.approx(level, rel=1e-5)

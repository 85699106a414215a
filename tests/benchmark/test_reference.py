"""The committed reference results: their tables are what the report makes of their run directories, to the byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from baselines.registry import METHODS, method_groups
from benchmark.naming import load
from benchmark.reporting import report
from benchmark.reporting.reader import read
from tasks import TASKS

FOLDERS = Path(__file__).parents[2] / "results" / "reference"
REFERENCE = FOLDERS / "tiny"
TITLES = {name: load(target).title for name, target in TASKS.items()}


@pytest.mark.parametrize("name", ["tiny", "tiny_ablation"])
def test_tables_and_page_are_reproduced(name, tmp_path):
    """To update a committed report after a wanted change: ``python -m benchmark report results/reference/NAME``."""
    shutil.copytree(FOLDERS / name, tmp_path / name, ignore=shutil.ignore_patterns("report", "diagnose"))
    report(tmp_path / name, method_order=list(METHODS), task_titles=TITLES)
    rebuilt, kept = tmp_path / name / "report", FOLDERS / name / "report"
    names = {p.name for p in rebuilt.iterdir()}
    assert names == {p.name for p in kept.iterdir()}
    for file in sorted(file for file in names if Path(file).suffix in (".csv", ".md", ".tex")):
        assert (rebuilt / file).read_text() == (kept / file).read_text(), file


def test_the_ablation_has_every_control_on_every_task():
    runs = read(FOLDERS / "tiny_ablation").runs
    seeds = {r.seed for r in runs}
    assert {(r.task, r.method, r.seed) for r in runs} == {
        (t, m, s) for t in TASKS for m in method_groups()["ablation"] for s in seeds}
    still = [r.summary["reward_increase"] for r in runs if r.method == "no-update"]
    assert still == [0.0] * len(still)


def test_the_grid_is_whole_and_starts_at_the_same_point():
    runs = read(REFERENCE).runs
    cells = {(r.task, r.method, r.seed) for r in runs}
    seeds = {r.seed for r in runs}
    assert len(seeds) >= 3 and cells == {(t, m, s) for t in TASKS for m in method_groups()["main"] for s in seeds}
    for task in TASKS:
        for seed in seeds:
            starts = {str(r.summary["initial"]) for r in runs if (r.task, r.seed) == (task, seed)}
            assert len(starts) == 1, (task, seed)


@pytest.mark.parametrize("method", ["rloo", "ppo"])
def test_first_order_methods_raise_the_test_reward_on_every_task(method):
    increases = [r.summary["reward_increase"] for r in read(REFERENCE).runs if r.method == method]
    assert increases and min(increases) > 0


def test_reward_models_rank_held_out_pairs():
    accuracies = [r.environment["preparation"]["reward_accuracy"] for r in read(REFERENCE).runs]
    assert min(accuracies) >= 0.8

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

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "tiny"
TITLES = {name: load(target).title for name, target in TASKS.items()}


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """To update the committed report after a wanted change: ``python -m benchmark report results/reference/tiny``."""
    folder = tmp_path_factory.mktemp("reference") / "tiny"
    shutil.copytree(REFERENCE, folder, ignore=shutil.ignore_patterns("report"))
    report(folder, method_order=list(METHODS), task_titles=TITLES)
    return folder / "report"


def test_tables_and_page_are_reproduced(rebuilt):
    names = {p.name for p in rebuilt.iterdir()}
    assert names == {p.name for p in (REFERENCE / "report").iterdir()}
    for name in sorted(name for name in names if Path(name).suffix in (".csv", ".md", ".tex")):
        assert (rebuilt / name).read_text() == (REFERENCE / "report" / name).read_text(), name


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

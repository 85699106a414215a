"""``docs/adding.md``, executed: parts from outside the package run, and nothing else has to be edited for them."""

from __future__ import annotations

import json
import sys
from functools import partial

import pytest

import tasks
from baselines import registry
from benchmark.cli import main
from benchmark.studies.speed import child, driver
from tests.pages import SMALL, blocks, commands

PAGE = "adding.md"
FILES = {"baselines/registry.py": registry, "tasks/__init__.py": tasks}
TABLES = (registry.OBJECTIVES, registry.DIRECTIONS, registry.PROBES, registry.RULES, registry.METHODS, tasks.TASKS)
LIMIT = 40  # lines of a part in its file
BENCH = ("--set", "hidden_size=32", "--set", "heads=2", "--set", "intermediate_size=64", "--set", "vocabulary=300",
         "--set", "sequences_per_update=8", "--set", "max_new_tokens=4")


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """The files of the page in a folder on the path, its lines in the registries; all gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = [dict(table) for table in TABLES]  # the page's names may be those of parts that there are
    modules = set(sys.modules)
    for language, name, text in blocks(PAGE):
        if language == "python" and name not in FILES:
            (tmp_path / name).write_text(text, encoding="utf-8")
    for language, name, text in blocks(PAGE):
        if language == "python" and name in FILES:
            exec(compile(text, name, "exec"), dict(vars(FILES[name])))
    yield tmp_path
    for table, entries in zip(TABLES, before, strict=True):
        table.clear()
        table.update(entries)
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", "") and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_a_part_is_short():
    parts = {name: text for language, name, text in blocks(PAGE) if language == "python" and name not in FILES}
    parts.pop("greetings.py")  # a task, with its world
    assert len(parts) == 5
    assert all(len(text.splitlines()) <= LIMIT for text in parts.values())


def test_every_command_of_the_page_works(outside, monkeypatch):
    # A process of its own would not know the parts.
    in_process = partial(driver.bench, child=lambda figure, memory: child.answer(
        {"figure": figure.as_dict(), "memory": memory}))
    monkeypatch.setattr(driver, "bench", in_process)
    assert len(commands(PAGE)) == 7
    for words in commands(PAGE):
        assert words[:3] == ["python", "-m", "benchmark"]
        small = {"run": SMALL, "tune": SMALL, "bench": BENCH}.get(words[3], ())
        assert main([*words[3:], *small]) == 0, words
    bench = json.loads((outside / "results" / "runs" / "bench" / "bench.json").read_text(encoding="utf-8"))
    assert not any(figure["failed"] for figure in bench["figures"].values())
    report = outside / "results" / "runs" / "mine" / "report"
    text = (report / "table_wmt20_mlqe.md").read_text(encoding="utf-8")
    costs = (report / "table_cost.md").read_text(encoding="utf-8")
    plot = (report / "reward_vs_compute_wmt20_mlqe.svg").read_text(encoding="utf-8")
    mine = registry.method_groups()["mine"]
    assert len(mine) == 8
    for name in mine:
        assert name in text and name in costs and name in plot
    row = next(line for line in costs.splitlines() if "mezo-one-sided" in line)
    assert "| 8 |" in row  # three passes of a rollout, five readings
    directions = (outside / "results" / "runs" / "mine" / "diagnose" / "directions.md").read_text(encoding="utf-8")
    assert "mezo-low-rank" in directions and "mezo-one-sided" in directions

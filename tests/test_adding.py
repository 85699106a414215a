"""``docs/adding.md``, executed: parts from outside the package run, and nothing else has to be edited for them."""

from __future__ import annotations

import json
import re
import shlex
import sys
from functools import partial
from pathlib import Path

import pytest

import tasks
from baselines import registry
from benchmark.cli import main
from benchmark.studies.speed import child, driver

PAGE = Path(__file__).parents[1] / "docs" / "adding.md"
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
FILES = {"baselines/registry.py": registry, "tasks/__init__.py": tasks}
TABLES = (registry.OBJECTIVES, registry.DIRECTIONS, registry.PROBES, registry.RULES, registry.METHODS, tasks.TASKS)
LIMIT = 40  # lines of a part in its file
SMALL = ("--set", "train_rows=200", "--set", "heldout_rows=40", "--set", "sft.steps=5", "--set", "reward_model.steps=4",
         "--set", "budget.kind=updates", "--set", "budget.limit=6", "--set", "max_new_tokens=8", "--set",
         "validation_prompts=4", "--set", "test_prompts=4", "--set", "points=1", "--workers", "0", "--device", "cpu")

BENCH = ("--set", "hidden_size=32", "--set", "heads=2", "--set", "intermediate_size=64", "--set", "vocabulary=300",
         "--set", "sequences_per_update=8", "--set", "max_new_tokens=4")


def blocks() -> list[tuple[str, str, str]]:
    """(language, file that a first comment names, text) of every block."""
    found = []
    for language, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        name = re.match(r"# (\S+\.py)\n", text)
        found.append((language, name[1] if name else "", text))
    return found


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """The files of the page in a folder on the path, its lines in the registries; all gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = [set(table) for table in TABLES]
    modules = set(sys.modules)
    for language, name, text in blocks():
        if language == "python" and name not in FILES:
            (tmp_path / name).write_text(text, encoding="utf-8")
    for language, name, text in blocks():
        if language == "python" and name in FILES:
            exec(compile(text, name, "exec"), dict(vars(FILES[name])))
    yield tmp_path
    for table, names in zip(TABLES, before, strict=True):
        for name in set(table) - names:
            del table[name]
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", "") and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_a_part_is_short():
    parts = {name: text for language, name, text in blocks() if language == "python" and name not in FILES}
    parts.pop("greetings.py")  # a task, with its world
    assert len(parts) == 5
    assert all(len(text.splitlines()) <= LIMIT for text in parts.values())


def test_every_command_of_the_page_works(outside, monkeypatch):
    # A process of its own would not know the parts.
    in_process = partial(driver.bench, child=lambda figure, memory: child.answer(
        {"figure": figure.as_dict(), "memory": memory}))
    monkeypatch.setattr(driver, "bench", in_process)
    commands = [line for language, _, text in blocks() if language == "bash" for line in text.splitlines()]
    assert len(commands) == 7
    for command in commands:
        _, _, package, *words = shlex.split(command)
        assert package == "benchmark"
        small = {"run": SMALL, "tune": SMALL, "bench": BENCH}.get(words[0], ())
        assert main([*words, *small]) == 0, command
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

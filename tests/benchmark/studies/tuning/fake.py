"""Searches whose runs are written down instead of made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmark.plan.resolve import Config
from benchmark.plan.run import Run
from benchmark.plan.sources import TaskSource
from benchmark.studies.tuning.scores import Found
from benchmark.studies.tuning.search import Plan, Search, TrialRun
from benchmark.studies.tuning.spaces import SPACES

TASKS = ["wmt20_mlqe", "hh_rlhf"]
SOURCES = {task: TaskSource(task, SimpleNamespace(version="1", revision="abc")) for task in TASKS}
Reward = Callable[[Run, dict[str, Any]], float | None]  # of a run and its method's values; None = it diverges


def search(*methods: str, config: Config | None = None, folder: Path = SPACES, **plan: Any) -> Search:
    return Search(config or Config(), SOURCES, list(methods), Plan(**plan), folder)


def finish(folder: Path, start: float, end: float | None, warm: float = 0.0, test: float = 0.0,
           sd: float = 0.0) -> None:
    """A finished run as far as a search looks at it; without an end it diverged.

    Args:
        warm: increase at the end of the first iteration. sd: of r₀ over π₀'s completions; 0 = the run does not say.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "environment.json").write_text(json.dumps(
        {"commit": "abc", "dirty": test > 0, "preparation": {"reward_sd": sd} if sd else {}}))
    final = None if end is None else {"validation": {"reward": end}, "test": {"reward": test}}
    (folder / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (
        {"split": "validation", "fraction": 0.0, "iteration": 0, "metrics": {"reward": start}},
        {"split": "test", "fraction": 0.25, "iteration": 0, "metrics": {"reward": 1e9}},
        {"split": "validation", "fraction": 0.25, "iteration": 0, "metrics": {"reward": start + warm}},
        {"split": "validation", "fraction": 1.0, "iteration": 3, "metrics": {"reward": end}})))
    (folder / "summary.json").write_text(json.dumps({
        "status": "diverged" if end is None else "done", "final": final,
        "initial": {"validation": {"reward": start}, "test": {"reward": -test}}}))


def carry_out(found: Search, runs: Path, reward: Reward, warm: float = 0.0, rounds: int = 99) -> list[Found]:
    """Finish what the search asks for, round by round; what it found."""
    for _ in range(rounds):
        cells, results = found.advance(runs)
        if not cells:
            return results
        for cell in cells:
            write(cell, runs, reward, warm)
    return []


def write(cell: TrialRun, runs: Path, reward: Reward, warm: float = 0.0) -> None:
    end = reward(cell.run, cell.run.resolved()["method"])
    finish(runs / cell.run.name, 1.0, None if end is None else 1.0 + end, warm)

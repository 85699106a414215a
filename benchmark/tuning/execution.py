"""Carrying a search out: its runs as jobs of the grid's executor, and what a terminal shows of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.display import Display, duration
from benchmark.executor import Job, Preparation, RunJob
from benchmark.plan import cache_folder
from benchmark.preparation import preparation_key
from benchmark.tuning.search import Cell, standing_of


@dataclass(frozen=True)
class TrialJob(RunJob):
    """A run that knows its trial: trials of one method go on side by side and need names of their own."""

    trial: int

    @property
    def name(self) -> str:
        return f"{self.run.task} {self.run.method} trial {self.trial} s{self.run.seed}"


class TrialDisplay(Display):
    """The grid's display, with the reward by which trials are judged: a search shows nobody the test split."""

    def ended(self, job: Job, outcome: dict[str, Any]) -> None:
        if isinstance(job, Preparation) or outcome["status"] != "done":
            super().ended(job, outcome)
            return
        self.ended_jobs += 1
        took = duration(time.monotonic() - self.states.pop(job.name)["since"])
        start, end = (outcome[when]["validation"]["reward"] for when in ("initial", "final"))
        text = "; ".join([f"validation reward {start:+.3f} → {end:+.3f}", *outcome["warnings"]])
        self._line(f"{self._clock()} [{self.ended_jobs}/{self.total}] {job.name}  {text}  ({took}, {self._left()} "
                   f"left)")


def jobs(cells: Sequence[Cell], runs: Path, cache: Path) -> list[Job]:
    """What is left to do: preparations first, then runs in the order of ``cells``, each distinct run once.

    A run that its method brought to an end, well or not, is not repeated.
    """
    preparations: dict[Path, Preparation] = {}
    trials: dict[str, TrialJob] = {}
    for cell in cells:
        run = cell.run
        if run.name in trials or standing_of(runs / run.name) is not None:
            continue
        folder = cache_folder(cache, run.task, run.seed, preparation_key(run.config, run.task, run.seed, run.versions))
        if not (folder / "preparation.json").is_file():
            preparations.setdefault(folder, Preparation(run.task, run.seed, folder, run.config))
        trials[run.name] = TrialJob(run, folder, runs, cell.trial)
    return [*preparations.values(), *trials.values()]

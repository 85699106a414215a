"""Carrying a search out: its runs as jobs of the grid's executor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.grid.jobs import Job, RunJob, jobs_for
from benchmark.studies.tuning.search import TrialRun, standing_of


@dataclass(frozen=True)
class TrialJob(RunJob):
    """A run that knows its trial: trials of one method go on side by side and need names of their own."""

    cell: TrialRun

    @property
    def name(self) -> str:
        return self.cell.name


def jobs(cells: Sequence[TrialRun], runs: Path, cache: Path) -> list[Job]:
    """What is left to do: preparations first, then runs in the order of ``cells``, each distinct run once.

    A run that its method brought to an end, well or not, is not repeated.
    """
    todo: dict[str, TrialRun] = {}
    for cell in cells:
        if standing_of(runs / cell.run.name, 0) is None:
            todo.setdefault(cell.run.name, cell)
    return jobs_for((cell.run for cell in todo.values()), runs, cache,
                    lambda run, folder, out: TrialJob(run, folder, out, todo[run.name]))

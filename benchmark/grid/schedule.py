"""Which job comes next: a run only after the preparation it needs, and not at all if that failed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmark.grid.jobs import Job, Preparation, RunJob


class JobQueue:
    """Jobs that have not been given out yet, in their order."""

    def __init__(self, jobs: Iterable[Job]):
        self.pending = list(jobs)
        self._awaited = {job.folder for job in self.pending if isinstance(job, Preparation)}
        self._broken: dict[Path, str] = {}

    def next(self) -> Job | None:
        """Give out the first job that waits for no other; None where all do."""
        for index, job in enumerate(self.pending):
            if not isinstance(job, RunJob) or job.preparation not in self._awaited:
                return self.pending.pop(index)
        return None

    def broken(self, job: Job) -> str | None:
        """Why a job that was given out cannot be executed."""
        return self._broken.get(job.preparation) if isinstance(job, RunJob) else None

    def ended(self, job: Job, result: dict[str, Any]) -> None:
        """Let go what waited for ``job``."""
        if isinstance(job, Preparation):
            self._awaited.discard(job.folder)
            if result["status"] == "failed":
                self._broken[job.folder] = f"its preparation failed: {result['message']}"

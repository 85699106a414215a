"""Runs the grid: every job as soon as it may and there is room, preparations before the runs that need them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmark.grid.jobs import Job
from benchmark.grid.launchers import Handle, Launcher
from benchmark.grid.schedule import JobQueue


class Watcher(Protocol):
    """Who is told how jobs fare (the display)."""

    def started(self, job: Job) -> None: ...
    def progress(self, job: Job, state: dict[str, Any]) -> None: ...
    def ended(self, job: Job, outcome: dict[str, Any]) -> None: ...


@dataclass
class GridOutcome:
    """What became of the jobs, by name: finished ones with their summaries, the others with a reason."""

    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def execute_jobs(jobs: list[Job], launcher: Launcher, watcher: Watcher) -> GridOutcome:
    """Execute ``jobs``, a run only after the preparation it needs.

    Returns:
        The outcome; on Ctrl-C whatever was finished until then, with ``interrupted`` set.
    """
    schedule, outcome, running = JobQueue(jobs), GridOutcome(), list[Handle]()

    def settle(job: Job, result: dict[str, Any]) -> None:
        if result["status"] == "failed":
            outcome.failed[job.name] = result["message"]
        else:
            outcome.done[job.name] = result
        schedule.ended(job, result)
        watcher.ended(job, result)

    try:
        while schedule.pending or running:
            while len(running) < launcher.slots and (job := schedule.next()) is not None:
                if reason := schedule.broken(job):
                    job.record_failure("PreparationFailed", reason, "")
                    settle(job, {"status": "failed", "message": reason})
                    continue
                watcher.started(job)
                running.append(launcher.start(job))
            if running:
                launcher.wait(running)
            for handle in list(running):
                if (result := handle.poll(watcher.progress)) is not None:
                    running.remove(handle)
                    settle(handle.job, result)
    except KeyboardInterrupt:
        outcome.interrupted = True
        launcher.stop(running)
    return outcome

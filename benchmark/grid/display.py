"""What a person sees while a grid runs: a live table on a terminal, one line per event elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from benchmark.core.escape import visible
from benchmark.core.terminal import unfiltered
from benchmark.grid.jobs import Job, Preparation


def duration(seconds: float) -> str:
    """``75`` → ``1:15``."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Display:
    """Told by the executor how jobs fare. Time left is extrapolated from the share of all work that is done.

    Args:
        split: whose reward is shown of a finished run (a search must show nobody the test split).
    """

    def __init__(self, total: int, budget: str, console: Console | None = None, split: str = "test"):
        self.console = console or Console(file=unfiltered())
        self.total, self.budget, self.split = total, budget, split
        self.states: dict[str, dict[str, Any]] = {}
        self.ended_jobs = 0
        self.start = time.monotonic()
        self.live = Live(console=self.console, refresh_per_second=2, get_renderable=self._table, transient=True)

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def started(self, job: Job) -> None:
        self.states[job.name] = {"share": 0.0, "stage": "start", "since": time.monotonic()}
        if not self.console.is_terminal:
            self._line(f"{self._clock()} start  {job.name}")

    def progress(self, job: Job, state: dict[str, Any]) -> None:
        if "note" in state:  # what a reader of the log should know; not part of the table
            self._line(f"{self._clock()} note   {job.name}  {state['note']}")
            return
        self.states[job.name] |= state

    def ended(self, job: Job, outcome: dict[str, Any]) -> None:
        self.ended_jobs += 1
        state = self.states.pop(job.name, {"since": time.monotonic()})
        took = duration(time.monotonic() - state["since"])
        if outcome["status"] == "failed":
            text = f"FAILED: {outcome['message']}"
        elif isinstance(job, Preparation):
            text = f"ready, reward-model accuracy {outcome['accuracy']:.2f}"
        elif outcome["status"] == "diverged":
            text = f"diverged: {outcome['warnings'][0]}"
        else:
            start, end = (outcome[when][self.split]["reward"] for when in ("initial", "final"))
            text = "; ".join([f"{self.split} reward {start:+.3f} → {end:+.3f}", *outcome["warnings"]])
        count = f"[{self.ended_jobs}/{self.total}]"
        self._line(f"{self._clock()} {count} {job.name}  {text}  ({took}, {self._left()} left)")

    def _line(self, text: str) -> None:
        self.console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def _clock(self) -> str:
        return duration(time.monotonic() - self.start).rjust(7)

    def _left(self) -> str:
        done = self.ended_jobs + sum(state["share"] for state in self.states.values())
        if not done:
            return "?"
        return duration((time.monotonic() - self.start) * (self.total - done) / done)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, title=f"{self.ended_jobs} of {self.total} jobs ended · budget per run "
                      f"{self.budget} · {self._clock().strip()} elapsed · {self._left()} left", title_justify="left")
        for name in ("job", "stage", "budget spent", "reward"):
            table.add_column(name, min_width=12)
        for name, state in self.states.items():
            filled = round(20 * state["share"])
            reward = f"{state['reward']:+.3f}" if "reward" in state else "–"
            table.add_row(name, state["stage"], f"{'█' * filled}{'·' * (20 - filled)} {state['share']:4.0%}", reward)
        return table

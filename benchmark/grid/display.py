"""What a person sees while a grid runs: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmark.core.escape import visible
from benchmark.core.terminal import unfiltered
from benchmark.grid.jobs import Job, Preparation
from benchmark.grid.work import work

SEEN = 0.1  # share of a job at work from which on its pace counts


def duration(seconds: float) -> str:
    """``75`` → ``1:15``."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _standing(state: dict[str, Any]) -> str:
    """Stage, share and reward of a job at work."""
    reward = f", reward {state['reward']:+.3f}" if "reward" in state else ""
    return f"{state['stage']}, {state['share']:.0%}{reward}"


class Display:
    """Told by the executor how jobs fare: a live table on a terminal; elsewhere a line when a job begins, enters a
    stage or ends, and one for every job at work when a minute has passed without any.

    Time left is that of the work left (:mod:`benchmark.grid.work`), at the pace of what is done: of preparations and of
    runs each by itself as soon as it is known.

    Args:
        workers: jobs at the same time.
        split: whose reward is shown of a finished run (a search must show nobody the test split).
        quiet: seconds without a line after which one says that work goes on.
    """

    def __init__(self, jobs: Sequence[Job], budget: str, console: Console | None = None, split: str = "test", *,
                 workers: int = 1, quiet: float = 55.0):
        self.console = console or Console(file=unfiltered())
        self.total, self.budget, self.split, self.workers, self.quiet = len(jobs), budget, split, workers, quiet
        self.states: dict[str, dict[str, Any]] = {}
        self.waiting = {job.name: (type(job), work(job)) for job in jobs}  # until they end
        self.paces: dict[type, list[float]] = {}  # of finished jobs: work, seconds
        self.ended_jobs = 0
        self.start = self._said = time.monotonic()
        self._over, self._lock = threading.Event(), threading.Lock()
        self.live = Live(console=self.console, refresh_per_second=2, get_renderable=self._table, transient=True)

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self.live.start()
        else:
            threading.Thread(target=self._say_that_it_goes_on, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
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
        before = self.states[job.name]["stage"]
        self.states[job.name] |= state
        if self.states[job.name]["stage"] != before and not self.console.is_terminal:
            self._line(f"{self._clock()} stage  {job.name}  {_standing(self.states[job.name])}  ({self._left()} left)")

    def _say_that_it_goes_on(self) -> None:
        while not self._over.wait(min(1.0, self.quiet / 5)):
            if time.monotonic() - self._said >= self.quiet:
                for name, state in list(self.states.items()):
                    took = duration(time.monotonic() - state["since"])
                    self._line(f"{self._clock()} works  {name}  {_standing(state)}  ({took}; {self._left()} left)")
                self._said = time.monotonic()

    def ended(self, job: Job, outcome: dict[str, Any]) -> None:
        self.ended_jobs += 1
        state = self.states.pop(job.name, {"since": time.monotonic()})
        seconds = time.monotonic() - state["since"]
        kind, amount = self.waiting.pop(job.name, (type(job), 0.0))
        if outcome["status"] == "done":  # others may have ended early
            done = self.paces.setdefault(kind, [0.0, 0.0])
            done[0], done[1] = done[0] + amount, done[1] + seconds
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
        self._line(f"{self._clock()} {count} {job.name}  {text}  ({duration(seconds)}, {self._left()} left)")

    def caution(self, text: str) -> None:
        """Say something about the grid as a whole."""
        self._line(f"{self._clock()} caution: {text}")

    def _line(self, text: str) -> None:
        with self._lock:
            self._said = time.monotonic()
            self.console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def _clock(self) -> str:
        return duration(time.monotonic() - self.start).rjust(7)

    def _left(self) -> str:
        now, paces = time.monotonic(), {kind: list(pace) for kind, pace in self.paces.items()}
        states, left = dict(self.states), dict[type, float]()
        for name, (kind, amount) in dict(self.waiting).items():
            share = states[name]["share"] if name in states else 0.0
            left[kind] = left.get(kind, 0.0) + amount * (1 - share)
            if share >= SEEN:
                pace = paces.setdefault(kind, [0.0, 0.0])
                pace[0], pace[1] = pace[0] + amount * share, pace[1] + now - states[name]["since"]
        known = {kind: seconds / done for kind, (done, seconds) in paces.items() if done}
        if not known:
            return "?"
        usual = sum(known.values()) / len(known)
        seconds = sum(amount * known.get(kind, usual) for kind, amount in left.items())
        return duration(seconds / max(1, min(self.workers, len(self.waiting))))

    def _table(self) -> Group:
        title = (f"{self.ended_jobs} of {self.total} jobs · {self.budget} · {self._clock().strip()} gone, "
                 f"{self._left()} left")
        table = Table(box=None, pad_edge=False)
        for name in ("job", "stage", "spent", "reward"):
            table.add_column(name)
        for name, state in dict(self.states).items():
            filled = round(10 * state["share"])
            reward = f"{state['reward']:+.3f}" if "reward" in state else "–"
            table.add_row(name, state["stage"], f"{'█' * filled}{'·' * (10 - filled)} {state['share']:4.0%}", reward)
        return Group(Text(title, no_wrap=True, overflow="ellipsis"), table)

"""Sends the bundles of a grid to an engine, looks on, and tells the watcher: what the executor does for this machine.

What has become of a run is what its folder says. Beside it stands what the bundle reports, and, where a bundle has
fallen silent, what its engine knows of it.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchmarkError, Busy
from benchmark.core.failures import MEMORY as MORE_MEMORY
from benchmark.core.files import read_object
from benchmark.core.locks import locked
from benchmark.core.storage import ENGINE
from benchmark.engines.bundle import Bundle, bundles_of, mark, write_bundle
from benchmark.engines.queue import ALIVE, CANCELLED, ENDED, MEMORY, TIMEOUT, Engine, Entry, Ledger, engine_folder
from benchmark.engines.report import read_report, report_file
from benchmark.grid.executor import GridOutcome, Watcher
from benchmark.grid.jobs import Job, Preparation, RunJob

LOOK = 1.0  # seconds between two looks
PATIENCE = 60.0  # seconds after which what another machine has written must be seen here
STOPPING = 45.0  # seconds that bundles have for ending when the user stops them


@dataclass(eq=False)
class Sent:
    """A bundle that is with the engine, and what has been heard of its jobs."""

    bundle: Bundle
    path: Path
    number: str = ""
    sent: int = 0
    started: set[str] = field(default_factory=set)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)  # job → state that the watcher knows
    notes: dict[str, int] = field(default_factory=dict)  # job → notes that the watcher knows
    silent: float | None = None  # when its end was noticed, before all of its jobs were settled


class Head:
    """The command's part in a grid that an engine carries out.

    Args:
        out: result folder.
        cache: folder of the preparations.
        trust: whether a model may run code of its own.
    """

    def __init__(self, engine: Engine, ledger: Ledger, cache: Path, watcher: Watcher, trust: bool = False):
        self.engine, self.ledger, self.cache, self.watcher = engine, ledger, cache, watcher
        self.out, self.outcome = ledger.out, GridOutcome()
        self.words = ["--trust-remote-code"] if trust else []
        self.settled: set[str] = set()
        self.live: list[Sent] = []

    def send(self, jobs: list[Job]) -> None:
        """Send what is not on its way yet; look on at the rest."""
        for folder in (self.out, self.cache):
            engine_folder(folder)
        self.ledger.request.unlink(missing_ok=True)
        jobs = self._adopt(jobs)
        marker = secrets.token_hex(8)
        for folder in (self.out, self.cache):
            mark(folder, marker)
        bundles = bundles_of(jobs)
        (self.out / ENGINE / "bundles").mkdir(exist_ok=True)
        for bundle in bundles:
            write_bundle(self._path(bundle.name), bundle, self.cache, marker)
        alike: dict[tuple[Any, str], list[Bundle]] = {}
        for bundle in bundles:  # those that others wait for come first
            alike.setdefault((bundle.settings, bundle.after), []).append(bundle)
        for (_, after), group in alike.items():
            self._submit([Sent(bundle, self._path(bundle.name)) for bundle in group], after)

    def watch(self) -> None:
        """Return when all jobs are settled; KeyboardInterrupt if ``cancel`` asks for it."""
        while self.live:
            if self.ledger.request.exists():
                raise KeyboardInterrupt
            for sent in list(self.live):
                self._look(sent)
            if self.live:
                time.sleep(LOOK)

    def stop(self) -> None:
        """Have all bundles end, and wait for them a while."""
        self.outcome.interrupted = True
        self.ledger.request.unlink(missing_ok=True)
        self.engine.cancel([sent.number for sent in self.live])
        end = time.monotonic() + STOPPING
        while self.live and time.monotonic() < end:
            self.live = [sent for sent in self.live if self.engine.fate(sent.number) == ALIVE]
            time.sleep(LOOK / 4)
        self.ledger.entries.clear()
        self.ledger.save()

    def _path(self, name: str) -> Path:
        return self.out.absolute() / ENGINE / "bundles" / f"{name}.json"

    def _adopt(self, jobs: list[Job]) -> list[Job]:
        """Take up what an earlier command has sent and is still on its way; the other ``jobs``."""
        runs = {job.run.name: job for job in jobs if isinstance(job, RunJob)}
        ready = {f"prepare__{job.folder.name}": job for job in jobs if isinstance(job, Preparation)}
        for name, entry in list(self.ledger.entries.items()):
            mine = [runs[run] for run in entry.runs if run in runs]
            if self.engine.fate(entry.number) != ALIVE:
                del self.ledger.entries[name]
            elif mine:
                bundle = Bundle(name, (ready[name],) if name in ready else tuple(mine), tuple(mine))
                self.live.append(Sent(bundle, self._path(name), entry.number, entry.sent))
        self.ledger.save()
        taken = {id(job) for sent in self.live for job in sent.bundle.jobs}
        return [job for job in jobs if id(job) not in taken]

    def _submit(self, group: list[Sent], after: str = "") -> None:
        for sent in group:
            report_file(sent.path).unlink(missing_ok=True)
        awaited = self.ledger.entries[after].number if after in self.ledger.entries else ""
        numbers = self.engine.send([[str(sent.path), *self.words] for sent in group], group[0].bundle.settings, awaited)
        for sent, number in zip(group, numbers, strict=True):
            sent.number, sent.sent, sent.silent = number, sent.sent + 1, None
            self.ledger.entries[sent.bundle.name] = Entry(number, sent.sent, tuple(
                job.run.name for job in sent.bundle.runs))
            if sent not in self.live:
                self.live.append(sent)
        self.ledger.save()

    def _left(self, sent: Sent) -> list[Job]:
        return [job for job in sent.bundle.jobs if job.name not in self.settled]

    def _look(self, sent: Sent) -> None:
        report = read_report(sent.path)
        for job in self._left(sent):
            self._mirror(sent, job, report["jobs"].get(job.name) if report else None)
        if not self._left(sent):
            self._forget(sent)
            return
        if report.get("refused"):
            self._give_up(sent, "ConfigError", str(report["refused"]))
            return
        fate = self.engine.fate(sent.number)
        if fate == ALIVE:
            sent.silent = None
            return
        if sent.silent is None:
            sent.silent = time.monotonic()
        if fate == ENDED and time.monotonic() - sent.silent < PATIENCE and not report.get("interrupted"):
            return  # what it wrote last may not be seen here yet
        self._ended(sent, fate, report)

    def _mirror(self, sent: Sent, job: Job, entry: dict[str, Any] | None) -> None:
        """Tell the watcher what is new of ``job``."""
        if entry is None:
            return
        if job.name not in sent.started:
            sent.started.add(job.name)
            self.watcher.started(job)
        if (state := entry.get("state") or {}) != sent.told.get(job.name):
            sent.told[job.name] = state
            self.watcher.progress(job, state)
        notes = entry.get("notes") or []
        for note in notes[sent.notes.get(job.name, 0):]:
            self.watcher.progress(job, {"note": note})
        sent.notes[job.name] = len(notes)
        outcome = entry.get("outcome")
        if not outcome:
            return
        if outcome.get("status") == "failed":
            self._settle(job, {"status": "failed", "message": str(outcome.get("message", ""))})
        elif isinstance(job, Preparation):
            self._settle(job, outcome)
        elif job.store.done:
            self._settle_finished(job)

    def _settle_finished(self, job: RunJob) -> None:
        try:
            result = job.store.summary()
        except BenchmarkError as error:  # its files were damaged meanwhile
            result = {"status": "failed", "message": str(error)}
        self._settle(job, result)

    def _settle(self, job: Job, result: dict[str, Any]) -> None:
        self.settled.add(job.name)
        if result["status"] == "failed":
            self.outcome.failed[job.name] = result["message"]
        else:
            self.outcome.done[job.name] = result
        self.watcher.ended(job, result)
        if isinstance(job, Preparation) and result["status"] == "failed":
            reason = f"its preparation failed: {result['message']}"
            for sent in [sent for sent in self.live if sent.bundle.after == f"prepare__{job.folder.name}"]:
                self.engine.cancel([sent.number])
                self._give_up(sent, "PreparationFailed", reason)

    def _ended(self, sent: Sent, fate: str, report: dict[str, Any]) -> None:
        """It has come to its end, and not all of its jobs have."""
        for job in self._left(sent):  # what was finished before its report could say so
            if isinstance(job, Preparation) and (job.folder / "preparation.json").is_file():
                self._settle(job, job.outcome(read_object(job.folder / "preparation.json")))
            elif isinstance(job, RunJob) and job.store.done:
                self._settle_finished(job)
        settings = sent.bundle.settings
        if not self._left(sent):
            self._forget(sent)
        elif fate == MEMORY:
            self._give_up(sent, "OutOfMemoryError", f"out of memory on its node (engine.memory_gib = "
                          f"{settings.memory_gib:g}). {MORE_MEMORY}")
        elif fate == CANCELLED:
            self._give_up(sent, "Interrupted", "it was cancelled in the queue")
        elif fate == ENDED and not report:
            self._give_up(sent, "ProcessDied", f"its job {sent.number} ended and has left nothing that can be seen "
                          f"here: --out is not on storage that the compute nodes share (`doctor DIR` tests that), or "
                          f"it could not begin. Its own words are in {ENGINE}.")
        elif sent.sent <= settings.retries:
            self._submit([sent])
        else:
            why = f"its time of {settings.minutes} minutes was over" if fate == TIMEOUT else (
                "its node, or its process there, died")
            self._give_up(sent, "ProcessDied", f"{why}, {sent.sent} times over. What the job itself said is in "
                          f"{ENGINE}; more time: engine.minutes.")

    def _give_up(self, sent: Sent, kind: str, message: str) -> None:
        for job in self._left(sent):
            job.record_failure(kind, message, "")
            self._settle(job, {"status": "failed", "message": message})
        self._forget(sent)

    def _forget(self, sent: Sent) -> None:
        if sent in self.live:
            self.live.remove(sent)
            self.ledger.entries.pop(sent.bundle.name, None)
            self.ledger.save()


def execute_elsewhere(jobs: list[Job], engine: Engine, ledger: Ledger, cache: Path, watcher: Watcher,
                      detach: bool = False, trust: bool = False) -> GridOutcome:
    """Execute ``jobs`` by ``engine``: as :func:`benchmark.grid.executor.execute_jobs` does on this machine.

    Args:
        ledger: of the result folder.
        cache: folder of the preparations.
        detach: return when all is sent.
        trust: whether a model may run code of its own.

    Raises:
        Busy: another command looks on already.
    """
    engine_folder(ledger.out)
    head = Head(engine, ledger, cache, watcher, trust)
    try:
        with locked(ledger.out / ENGINE, patience=1.0):
            try:
                head.send(jobs)
                if not detach:
                    head.watch()
            except KeyboardInterrupt:
                head.stop()
    except Busy as error:
        raise Busy(f"another command looks on at the grid in {ledger.out} already ({error})") from None
    return head.outcome

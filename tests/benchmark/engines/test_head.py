"""The command's part: what it makes of what bundles report and of what an engine knows."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.core.errors import Busy
from benchmark.core.locks import locked
from benchmark.engines import head as heads
from benchmark.engines.bundle import read_bundle
from benchmark.engines.head import execute_elsewhere
from benchmark.engines.queue import ALIVE, CANCELLED, ENDED, LOST, MEMORY, TIMEOUT, Ledger
from benchmark.engines.report import Report
from benchmark.grid.jobs import jobs_for
from tests.benchmark.engines.conftest import Watcher


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(heads, "LOOK", 0.01)
    monkeypatch.setattr(heads, "PATIENCE", 0.05)


class Scripted:
    """An engine whose bundles fare as a script says: for each time that one is sent, a function of its path that does
    what the node would do, and returns the fate."""

    detached = True

    def __init__(self, *script):
        self.script, self.fates, self.sent, self.cancelled = list(script), {}, [], []

    def send(self, words, settings, after=""):
        numbers = []
        for each in words:
            numbers.append(str(len(self.sent)))
            self.sent.append(SimpleNamespace(words=each, settings=settings, after=after))
            step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            self.fates[numbers[-1]] = step(each[0]) if callable(step) else step
        return numbers

    def fate(self, number):
        return self.fates.get(number, LOST)

    def cancel(self, numbers):
        self.cancelled += numbers
        self.fates |= dict.fromkeys(numbers, CANCELLED)


def finish(path):
    """What a node does that comes to its end, less the work."""
    report = Report(Path(path))
    for job in read_bundle(Path(path)).jobs:
        report.started(job)
        job.store.start({}, {})
        job.store.finish({"status": "done"})
        report.progress(job, {"share": 0.5, "stage": "work"})
        report.progress(job, {"note": "a word"})
        report.ended(job, {"status": "done"})
    report.end()
    return ENDED


def interrupted(path):
    Report(Path(path)).end(interrupted=True)
    return ENDED


def refuse(path):
    Report(Path(path)).end(refused="other software")
    return ENDED


def carry_out(grid, jobs, *script, **options):
    engine = Scripted(*script)
    return execute_elsewhere(jobs, engine, Ledger(grid.out), grid.cache, grid.watcher, **options), engine


def error_of(job):
    return json.loads((job.store.folder / "error.json").read_text())["type"]


def test_what_bundles_report_reaches_the_watcher(grid):
    jobs = grid.jobs("rloo", "mezo")
    outcome, engine = carry_out(grid, jobs, finish)
    assert set(outcome.done) == {job.name for job in jobs} and not outcome.failed
    assert [event for event in grid.watcher.events if event[1] == jobs[0].name] == [
        ("started", jobs[0].name), ("progress", jobs[0].name, {"share": 0.5, "stage": "work"}),
        ("progress", jobs[0].name, {"note": "a word"}), ("ended", jobs[0].name, "done")]
    assert not Ledger(grid.out).entries and len(engine.sent) == 2


@pytest.mark.parametrize("fate", [LOST, TIMEOUT, interrupted])
def test_a_bundle_whose_node_dies_is_sent_again_but_not_for_ever(fate, grid):
    (job,) = grid.jobs("rloo", retries=2)
    outcome, engine = carry_out(grid, [job], fate, fate, finish)
    assert set(outcome.done) == {job.name} and len(engine.sent) == 3
    (job,) = grid.jobs("mezo", retries=2)
    outcome, engine = carry_out(grid, [job], fate)
    assert "3 times" in outcome.failed[job.name] and len(engine.sent) == 3 and error_of(job) == "ProcessDied"


@pytest.mark.parametrize(("fate", "kind", "words"), [
    (MEMORY, "OutOfMemoryError", "engine.memory_gib = 2"), (CANCELLED, "Interrupted", "cancelled in the queue"),
    (ENDED, "ProcessDied", "storage that the compute nodes share"), (refuse, "ConfigError", "other software")])
def test_what_would_fail_again_is_not_sent_again(fate, kind, words, grid):
    (job,) = grid.jobs("rloo", memory_gib=2.0)
    outcome, engine = carry_out(grid, [job], fate)
    assert words in outcome.failed[job.name] and error_of(job) == kind and len(engine.sent) == 1


def test_a_run_that_is_finished_counts_whatever_became_of_its_report(grid):
    (job,) = grid.jobs("rloo")

    def silent(path):
        finish(path)
        (grid.out / ".engine" / "bundles" / path.split("/")[-1].replace(".json", ".report.json")).unlink()
        return LOST

    outcome, engine = carry_out(grid, [job], silent)
    assert set(outcome.done) == {job.name} and len(engine.sent) == 1


def test_runs_fail_with_their_preparation_and_leave_the_queue(grid):
    runs = grid.jobs("rloo", "mezo", prepared=False)
    jobs = jobs_for((job.run for job in runs), grid.out, grid.cache)

    def fail(path):
        report = Report(Path(path))
        report.started(jobs[0])
        report.ended(jobs[0], {"status": "failed", "message": "rows.tsv, row 3"})
        report.end()
        return ENDED

    outcome, engine = carry_out(grid, jobs, fail, ALIVE)
    assert [sent.after for sent in engine.sent] == ["", "0", "0"] and set(engine.cancelled) == {"1", "2"}
    assert outcome.failed[jobs[0].name] == "rows.tsv, row 3"
    assert all("its preparation failed: rows.tsv, row 3" in outcome.failed[job.name] for job in runs)
    assert [error_of(job) for job in runs] == ["PreparationFailed"] * 2


def test_the_same_command_looks_on_at_what_it_left_and_sends_the_rest(grid):
    jobs = grid.jobs("rloo", "mezo", "zopro")
    outcome, engine = carry_out(grid, jobs[:2], ALIVE, detach=True)
    assert not outcome.done and len(Ledger(grid.out).entries) == 2 and not outcome.interrupted
    paths = [sent.words[0] for sent in engine.sent]
    engine.fates["1"] = LOST  # of the second nothing is known any more
    finish(paths[0])
    engine.script = [finish]
    outcome = execute_elsewhere(jobs, engine, Ledger(grid.out), grid.cache, Watcher())
    assert set(outcome.done) == {job.name for job in jobs}
    assert len(engine.sent) == 4  # the first is not sent a second time
    assert not Ledger(grid.out).entries


def test_cancel_stops_the_command_and_empties_the_queue(grid):
    (job,) = grid.jobs("rloo")

    def ask(path):
        Ledger(grid.out).request.touch()
        return ALIVE

    outcome, engine = carry_out(grid, [job], ask)
    assert outcome.interrupted and engine.cancelled == ["0"] and not Ledger(grid.out).entries
    assert not Ledger(grid.out).request.exists()


def test_one_command_at_a_time_looks_on(grid):
    (grid.out / ".engine").mkdir()
    with locked(grid.out / ".engine"), pytest.raises(Busy, match="looks on at the grid"):
        carry_out(grid, grid.jobs("rloo"), finish)

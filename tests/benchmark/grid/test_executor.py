"""Jobs in processes of their own: one that fails, dies or is stopped does not take the others with it."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from pathlib import Path

import pytest

from benchmark.core.errors import DataError
from benchmark.grid.executor import execute_jobs
from benchmark.grid.jobs import Preparation, RunJob, attempt
from benchmark.grid.launchers import local
from tests.benchmark.reporting.outcomes import of_run


class Fine(Preparation):
    def execute(self, report):
        report({"stage": "work", "share": 0.5})
        return {"status": "done", "seconds": 0.0, "accuracy": 1.0}


class Killed(Preparation):
    def execute(self, report):
        os.kill(os.getpid(), signal.SIGKILL)


class Wrong(Preparation):
    def execute(self, report):
        raise DataError("rows.tsv, row 3: z_mean is missing")


class Slow(Preparation):
    def execute(self, report):
        (self.folder / "started").touch()
        time.sleep(60)


class Broken(Preparation):
    def execute(self, report):
        raise ZeroDivisionError("division by zero")


class Watcher:
    def __init__(self):
        self.events = []

    def started(self, job):
        self.events.append(("started", job.name))

    def progress(self, job, state):
        self.events.append(("progress", job.name))

    def ended(self, job, outcome):
        self.events.append(("ended", job.name, outcome["status"]))


def job(cls, toy_config, name, folder=Path("unused")):
    return cls(name, 0, folder / name, toy_config)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failing_job_is_named_and_the_others_go_on(workers, toy_config):
    watcher = Watcher()
    jobs = [job(cls, toy_config, name) for cls, name in ((Wrong, "w"), (Fine, "f"), (Broken, "b"))]
    outcome = execute_jobs(jobs, local(workers), watcher)
    assert set(outcome.done) == {"prepare f s0"}
    assert outcome.failed == {"prepare w s0": "rows.tsv, row 3: z_mean is missing",
                              "prepare b s0": "ZeroDivisionError: division by zero"}
    assert ("progress", "prepare f s0") in watcher.events and ("ended", "prepare f s0", "done") in watcher.events


def test_a_killed_process_is_a_failure_that_says_so(toy_config):
    outcome = execute_jobs([job(Killed, toy_config, "k"), job(Fine, toy_config, "f")], local(1), Watcher())
    assert "killed by signal 9 (SIGKILL)" in outcome.failed["prepare k s0"]
    assert set(outcome.done) == {"prepare f s0"}


def test_runs_whose_preparation_failed_fail_with_its_reason(toy_config, make_run, tmp_path):
    preparation = job(Wrong, toy_config, "w", tmp_path)
    run = RunJob(make_run("rloo"), preparation.folder, tmp_path / "out")
    outcome = execute_jobs([preparation, run], local(2), Watcher())
    assert "its preparation failed: rows.tsv, row 3" in outcome.failed[run.name]
    assert "rows.tsv" in (run.store.folder / "error.json").read_text()
    assert not run.store.done


def test_ctrl_c_stops_the_jobs_and_keeps_what_is_done(toy_config, tmp_path):
    # A script that starts the tests in the background has them ignore SIGINT; here it must arrive.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = tmp_path / "s"
    folder.mkdir()

    def interrupt():
        while not (folder / "started").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    start = time.monotonic()
    outcome = execute_jobs([job(Fine, toy_config, "f"), job(Slow, toy_config, "s", tmp_path)], local(1), Watcher())
    thread.join()
    signal.signal(signal.SIGINT, before)
    assert outcome.interrupted and set(outcome.done) == {"prepare f s0"}
    assert time.monotonic() - start < 50  # it did not wait for the sleeping job


class Elsewhere:
    """A launcher that gets what goes over a wire, and hears of a job when it is asked for the third time."""

    slots = 2

    def __init__(self):
        self.stopped = []

    def start(self, job):
        return Remote(pickle.dumps(job), job)

    def wait(self, handles):
        assert 0 < len(handles) <= self.slots

    def stop(self, handles):
        self.stopped = [handle.job.name for handle in handles]


class Remote:
    def __init__(self, wire, job):
        self.wire, self.job, self.asked = wire, job, 0

    def poll(self, tell):
        self.asked += 1
        if self.asked < 3:
            return tell(self.job, {"stage": "queue", "share": 0.0})
        return attempt(pickle.loads(self.wire), lambda state: tell(self.job, state))


def test_a_launcher_needs_nothing_but_the_job(toy_config, make_run, toy_folder, tmp_path):
    """A run that is sent away as bytes comes to what it comes to here; one that lacks its preparation is not sent."""
    here, away = (RunJob(make_run("rloo", "budget.limit=2"), toy_folder, tmp_path / name) for name in ("here", "away"))
    bad = job(Wrong, toy_config, "w", tmp_path)
    orphan = RunJob(make_run("dpo"), bad.folder, tmp_path / "away")
    watcher = Watcher()
    outcome = execute_jobs([bad, orphan, away], Elsewhere(), watcher)
    execute_jobs([here], local(0), Watcher())
    assert set(outcome.done) == {away.name} and set(outcome.failed) == {bad.name, orphan.name}
    assert ("started", orphan.name) not in watcher.events and watcher.events[:2] == [
        ("started", bad.name), ("started", away.name)]
    assert of_run(away.store) == of_run(here.store)


def test_ctrl_c_is_passed_on_to_the_launcher(toy_config):
    class Impatient(Elsewhere):
        def wait(self, handles):
            raise KeyboardInterrupt

    launcher = Impatient()
    outcome = execute_jobs([job(Fine, toy_config, name) for name in "abc"], launcher, Watcher())
    assert outcome.interrupted and launcher.stopped == ["prepare a s0", "prepare b s0"]

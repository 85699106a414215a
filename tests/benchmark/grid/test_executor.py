"""Jobs in processes of their own: one that fails, dies or is stopped does not take the others with it."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from benchmark.core.errors import DataError
from benchmark.grid.executor import Preparation, RunJob, execute_jobs


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
    outcome = execute_jobs(jobs, workers, watcher)
    assert set(outcome.done) == {"prepare f s0"}
    assert outcome.failed == {"prepare w s0": "rows.tsv, row 3: z_mean is missing",
                              "prepare b s0": "ZeroDivisionError: division by zero"}
    assert ("progress", "prepare f s0") in watcher.events and ("ended", "prepare f s0", "done") in watcher.events


def test_a_killed_process_is_a_failure_that_says_so(toy_config):
    outcome = execute_jobs([job(Killed, toy_config, "k"), job(Fine, toy_config, "f")], 1, Watcher())
    assert "killed by signal 9 (SIGKILL)" in outcome.failed["prepare k s0"]
    assert set(outcome.done) == {"prepare f s0"}


def test_runs_whose_preparation_failed_fail_with_its_reason(toy_config, make_run, tmp_path):
    preparation = job(Wrong, toy_config, "w", tmp_path)
    run = RunJob(make_run("rloo"), preparation.folder, tmp_path / "out")
    outcome = execute_jobs([preparation, run], 2, Watcher())
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
    outcome = execute_jobs([job(Fine, toy_config, "f"), job(Slow, toy_config, "s", tmp_path)], 1, Watcher())
    thread.join()
    signal.signal(signal.SIGINT, before)
    assert outcome.interrupted and set(outcome.done) == {"prepare f s0"}
    assert time.monotonic() - start < 50  # it did not wait for the sleeping job

"""A signal that asks for an end: a checkpoint, a sentence, and the exit code that shells know."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.commands import status
from benchmark.commands.grid import exit_code
from benchmark.core import stopping
from benchmark.core.checkpoint import Checkpoints, Periodic
from benchmark.grid.executor import execute_jobs
from benchmark.grid.jobs import Preparation, RunJob, attempt
from benchmark.grid.launchers import local
from tests.benchmark.reporting.outcomes import of_run

ROOT = Path(__file__).parents[3]


class Silent:
    def started(self, job): ...
    def progress(self, job, state): ...
    def ended(self, job, outcome): ...


class Stepwise(Preparation):
    """A long training that can be taken up again, and is not yet due a checkpoint."""

    def execute(self, report):
        saving = Periodic(Checkpoints(self.folder), 1e9)
        for step in range(1000):
            time.sleep(0.05)
            (self.folder.parent / "begun").touch()
            saving.offer(lambda step=step: {"step": step}, step / 1000)


def when_begun(folder, call):
    def wait():
        while not (folder / "begun").exists():
            time.sleep(0.02)
        call()

    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.parametrize(("workers", "name"), [(0, "SIGUSR1"), (1, "SIGTERM")])
def test_jobs_write_a_checkpoint_before_they_end(workers, name, toy_config, tmp_path, capsys):
    number, job = getattr(signal, name), Stepwise("t", 0, tmp_path / "work", toy_config)
    when_begun(tmp_path, lambda: os.kill(os.getpid(), number))
    with stopping.watched():
        outcome = execute_jobs([job], local(workers), Silent())
    assert outcome.interrupted and stopping.received() is number
    assert "step" in Checkpoints(job.folder).load(pytest.fail)
    exit_code({}, "0 of 1 runs are finished;")
    assert f"interrupted by {name}: 0 of 1 runs are finished; the same command goes on" in capsys.readouterr().err


def test_a_signal_to_the_whole_group_leaves_time_for_checkpoints(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""
from pathlib import Path
from benchmark.core import stopping
from benchmark.plan.resolve import load_profile
from tests.benchmark.grid.test_stopping import Silent, Stepwise, execute_jobs, local
if __name__ == "__main__":
    with stopping.watched():
        outcome = execute_jobs([Stepwise("t", 0, Path({str(tmp_path / "work")!r}), load_profile("smoke"))], local(1),
                               Silent())
    raise SystemExit(128 + stopping.received())
""")
    process = subprocess.Popen([sys.executable, str(script)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                               start_new_session=True)
    while not (tmp_path / "begun").exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(60) == 129
    assert "step" in Checkpoints(tmp_path / "work").load(pytest.fail)


def test_a_run_goes_on_from_there(make_run, toy_folder, tmp_path):
    told = []

    def report(state):
        told.append(state)
        if len(told) == 2:  # after the second update: before a checkpoint is due
            signal.raise_signal(signal.SIGTERM)

    stopped, whole = (RunJob(make_run("rloo", "budget.limit=4"), toy_folder, tmp_path / name) for name in "ab")
    with stopping.watched(), pytest.raises(stopping.Interrupted):
        attempt(stopped, report)
    assert not stopped.store.done and len(told) < 4
    assert '"Interrupted"' in (stopped.store.folder / "error.json").read_text(encoding="utf-8")
    with stopping.watched():  # the next command
        attempt(stopped, lambda state: None)
        attempt(whole, lambda state: None)
    assert stopped.store.summary()["resumed"]["count"] == 1 and of_run(stopped.store) == of_run(whole.store)


def test_without_a_safe_point_it_ends_after_a_while(monkeypatch):
    monkeypatch.setattr(stopping, "GRACE", 0.1)
    begun = time.monotonic()
    with stopping.watched(), pytest.raises(stopping.Interrupted), stopping.deferred():
        signal.raise_signal(signal.SIGTERM)
        assert stopping.requested()
        time.sleep(30)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_command_ends_with_the_signals_code(number, monkeypatch, capsys, tmp_path):
    before = signal.getsignal(number)
    monkeypatch.setattr("benchmark.grid.status.standings", lambda *_: signal.raise_signal(number))
    assert main(["status", str(tmp_path)]) == 128 + number
    assert f"interrupted by {number.name}" in capsys.readouterr().err
    assert signal.getsignal(number) == before and status


def test_what_was_ignored_stays_so(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping.watched(leave=stopping.ignored()):
            signal.raise_signal(signal.SIGHUP)
        assert stopping.received() is None
    finally:
        signal.signal(signal.SIGHUP, before)

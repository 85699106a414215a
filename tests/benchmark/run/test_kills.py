"""Processes that are killed at random moments; ``python -m tests.soak`` does it with the whole grid, for hours."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import struct
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmark.core.locks import holder
from benchmark.grid.executor import execute_jobs
from benchmark.grid.jobs import Preparation, RunJob
from benchmark.grid.launchers import Child, local
from benchmark.run.loop import execute
from benchmark.run.store import RunStore
from tests import soak
from tests.benchmark.reporting.outcomes import of_preparation, of_run


def killed_until_done(job, done, begun, draws, kills, least, most):
    """Kill the job's process again and again, then let it finish; return the number of kills.

    The first kill comes as soon as there is something to go on from (``begun``), the others at random moments.
    """
    count = 0
    while not done():
        handle = local(1).start(job)
        process = handle.process
        if count < kills:
            end = time.monotonic() + draws.uniform(least, most)
            while process.is_alive() and not (begun() if count == 0 else time.monotonic() > end):
                time.sleep(0.01)
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
                count += 1
        process.join(120)
        assert process.exitcode in (0, -signal.SIGKILL)
        handle.pipe.close()
    return count


@pytest.mark.parametrize(("method", "seed"), [("zopro", 1), ("ppo", 2), ("mezo-dpo", 3)])
def test_a_run_that_is_killed_at_random_moments_ends_as_one_that_was_not(method, seed, make_run, prepared, toy_folder,
                                                                         tmp_path):
    assignments = ("checkpoint_seconds=0", "budget.limit=8", "iterations=3", "refine_pairs=4")
    run = make_run(method, *assignments)
    whole, job = RunStore(tmp_path / "whole"), RunJob(run, toy_folder, tmp_path / "out")
    begun = time.monotonic()
    execute(run, prepared, whole, lambda state: None)
    took = time.monotonic() - begun
    count = killed_until_done(job, lambda: job.store.done, job.store.checkpoints.folder.is_dir, random.Random(seed),
                              4, 0.3, 0.5 + took)
    assert count >= 1 and of_run(job.store) == of_run(whole)
    assert holder(job.store.folder) is None and not job.store.checkpoints.folder.exists()


def test_a_preparation_that_is_killed_at_random_moments_ends_as_one_that_was_not(toy_config, toy_sources, toy_folder,
                                                                                 tmp_path):
    """The same folder name, because the preparation is told its key by it."""
    config = replace(toy_config, execution=replace(toy_config.execution, checkpoint_seconds=0))
    job = Preparation("wmt20_mlqe", 0, tmp_path / toy_folder.name, config)
    count = killed_until_done(job, (job.folder / "preparation.json").exists,
                              job.folder.with_name(f"{job.folder.name}.part").is_dir, random.Random(4), 4, 0.3, 3.0)
    assert count >= 1 and of_preparation(job.folder) == of_preparation(toy_folder)
    assert [path.name for path in tmp_path.iterdir()] == [toy_folder.name]


class Patient(Preparation):
    """A job that would work for a minute."""

    def execute(self, report):
        (self.folder / "pid").write_text(str(os.getpid()))
        time.sleep(60)


class Silent:
    def started(self, job): ...
    def progress(self, job, state): ...
    def ended(self, job, outcome): ...


def test_a_job_that_was_killed_in_the_middle_of_a_message_does_not_stop_the_command():
    here, there = multiprocessing.Pipe(duplex=False)
    os.write(there.fileno(), struct.pack("!i", 100) + b"the beginning")
    there.close()
    handle = Child(None, SimpleNamespace(is_alive=lambda: True), here)
    assert handle.poll(Silent().progress) is None and here.closed


def _command(job):
    execute_jobs([job], local(1), Silent())


def test_a_killed_command_leaves_no_job_behind(toy_config, tmp_path):
    """The job's process ends although nobody told it to: it could write into the folders of the next command."""
    parent = multiprocessing.get_context("spawn").Process(target=_command,
                                                          args=(Patient("t", 0, tmp_path, toy_config),))
    parent.start()
    end = time.monotonic() + 100
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    child = int((tmp_path / "pid").read_text())
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    end = time.monotonic() + 20
    while os.path.exists(f"/proc/{child}") and time.monotonic() < end:  # noqa: PTH110
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{child}")  # noqa: PTH110


def test_the_real_command_survives_kills(capsys):
    """The whole way: command line, preparation, run and report; killed alone and with all of its processes."""
    options = "--kills 3 --methods zopro --updates 4 --workers 1 --most 12 --seed 1"
    assert soak.main(options.split()) == 0
    output = capsys.readouterr().out
    assert "different: nothing" in output and output.count("kills in ") >= 1

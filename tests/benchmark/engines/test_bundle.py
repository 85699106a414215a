"""Bundles: what is written down is what another machine carries out, or it says why it cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.core.errors import BenchmarkError
from benchmark.core.locks import EXIT_ORPHAN, holder
from benchmark.engines import bundle as bundles
from benchmark.engines.bundle import bundles_of, mark, read_bundle, write_bundle
from benchmark.engines.queue import engine_folder
from benchmark.engines.report import read_report
from benchmark.grid.jobs import Preparation, jobs_for
from tests.benchmark.reporting.outcomes import of_run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def written(grid):
    """``written(jobs)`` → the file of the bundle that they are."""
    def write(jobs):
        for folder in (grid.out, grid.cache):
            engine_folder(folder)
            mark(folder, "m")
        (bundle,) = bundles_of(jobs)
        path = grid.out / ".engine" / f"{bundle.name}.json"
        write_bundle(path, bundle, grid.cache, "m")
        return path

    return write


def work(path, **options):
    return subprocess.Popen([sys.executable, "-m", "benchmark", "work", str(path), *options.pop("words", [])], cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_runs_of_one_preparation_are_bundled_and_wait_for_it(grid):
    runs = grid.jobs("rloo", "zopro", "mezo", bundle=2, prepared=False)
    jobs = jobs_for((job.run for job in runs), grid.out, grid.cache)
    first, second, third = bundles_of(jobs)
    assert [type(job) for job in first.jobs] == [Preparation] and second.after == third.after == first.name
    assert [job.run.method for job in (*second.jobs, *third.jobs)] == ["rloo", "zopro", "mezo"]
    (whole,) = bundles_of(jobs_for((job.run for job in grid.jobs("rloo", "zopro", bundle=0, prepared=False)), grid.out,
                                   grid.cache))
    assert [type(job) for job in whole.jobs][:1] == [Preparation] and len(whole.jobs) == 3 and not whole.after


def test_what_is_read_is_what_was_written(grid, written, tmp_path, monkeypatch):
    jobs = grid.jobs("rloo", "zopro", bundle=0, cpus=4)
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    jobs[1] = replace(jobs[1], run=replace(jobs[1].run, config=replace(
        jobs[1].run.config, model=replace(jobs[1].run.config.model, path="model"))))
    path = written(jobs)
    assert all("engine" not in entry["config"] for entry in json.loads(path.read_text())["runs"])
    found = read_bundle(path)
    runs = [job for job in found.jobs if not isinstance(job, Preparation)]
    assert [job.run.name for job in runs] == [job.run.name for job in jobs]
    assert [(job.store.folder, job.run.versions) for job in runs] == [(job.store.folder, job.run.versions)
                                                                     for job in jobs]
    assert runs[1].run.config.model.path == str(tmp_path / "model")
    assert found.workers == 1  # of execution.workers = 0: a node has nobody to look on


def test_a_machine_that_differs_says_so_and_carries_nothing_out(grid, written, monkeypatch):
    path = written(grid.jobs("rloo"))
    whole = json.loads(path.read_text())

    def refusal(**changed):
        path.write_text(json.dumps(whole | changed))
        with pytest.raises(BenchmarkError) as caught:
            read_bundle(path)
        return str(caught.value)

    assert "code 0 there" in refusal(code="0")
    assert "torch 9.9 there" in refusal(packages={**whole["packages"], "torch": "9.9"})
    assert "--out" in (said := refusal(marker="another")) and "storage that both share" in said
    (grid.cache / ".engine" / "m.json").unlink()
    assert "--cache" in refusal()
    mark(grid.cache, "m")
    assert "not a bundle of this version" in refusal(format=2)
    entry = whole["runs"][0]
    assert "not a run of this version" in refusal(runs=[{}])
    assert "no name of a run" in refusal(runs=[entry | {"name": "x"}])
    remote = {**entry["config"], "model": {**entry["config"]["model"], "trust_remote_code": True}}
    assert "--trust-remote-code" in refusal(runs=[entry | {"config": remote}])
    path.write_text(json.dumps(whole))
    assert len(read_bundle(path).jobs) == 1
    monkeypatch.setitem(bundles.LOADED, "x", bundles.Plugin("x", "", "d", frozenset(), Path()))
    assert "plugin" in refusal(plugins=[{"name": "x", "digest": "other", "file": ""}])


def test_work_carries_a_bundle_out_and_reports(grid, written):
    (job,) = jobs = grid.jobs("rloo")
    path = written(jobs)
    process = work(path)
    said, wrong = process.communicate(timeout=250)
    assert process.returncode == 0, wrong
    report = read_report(path)
    assert report["ended"] and not report["interrupted"] and f"start  {job.name}" in said
    assert report["jobs"][job.name]["outcome"] == {"status": "done"}
    assert of_run(job.store) == of_run(grid.here(job))
    assert not holder(job.store.folder) and read_bundle(path).jobs == []  # nothing is left to do


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_bundle_that_is_stopped_goes_on_where_it_was(number, grid, written):
    """SIGUSR2 goes to every process of a Slurm job."""
    path = written(grid.jobs("mezo", updates=400))
    (job,) = read_bundle(path).jobs
    process = work(path, start_new_session=True)
    end = time.monotonic() + 200
    while not job.store.checkpoints.folder.is_dir():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    (os.killpg if number == signal.SIGUSR2 else os.kill)(process.pid, number)
    process.communicate(timeout=100)
    assert process.returncode == 75 and read_report(path)["interrupted"] and not job.store.done
    assert job.store.checkpoints.folder.is_dir() and not holder(job.store.folder)


def test_a_bundle_ends_with_whoever_started_it(grid, written):
    process = work(written(grid.jobs("mezo")), words=["--tied"], stdin=subprocess.PIPE)
    process.stdin.close()
    process.stdin = None
    process.communicate(timeout=100)
    assert process.returncode == EXIT_ORPHAN

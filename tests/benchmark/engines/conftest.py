"""A result folder, a cache with a finished preparation in it, and runs that fit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmark.core.sections import EngineSettings
from benchmark.grid.jobs import RunJob
from benchmark.plan.run import Run
from benchmark.run.loop import execute
from benchmark.run.prepared import Prepared, preparation_folder


class Watcher:
    def __init__(self):
        self.events = []

    def started(self, job):
        self.events.append(("started", job.name))

    def progress(self, job, state):
        self.events.append(("progress", job.name, state))

    def ended(self, job, outcome):
        self.events.append(("ended", job.name, outcome["status"]))


@pytest.fixture
def grid(make_run, toy_folder, tmp_path):
    """``grid.jobs(method, …, **engine)`` → the jobs of these runs, whose preparation is in ``grid.cache`` if wanted."""
    out, cache = tmp_path / "out", tmp_path / "cache"
    for folder in (out, cache):
        folder.mkdir()

    def jobs(*methods, prepared=True, updates=2, **engine):
        runs = []
        for method in methods:
            run = make_run(method, f"budget.limit={updates}", "checkpoint_seconds=0")
            runs.append(Run(run.task, run.method, run.seed, replace(run.config, engine=EngineSettings(**engine)),
                            run.versions))
        folder = preparation_folder(runs[0], cache)
        if prepared and not folder.exists():
            shutil.copytree(toy_folder, folder)
        return [RunJob(run, folder, out) for run in runs]

    def here(job):
        """What the run comes to in this process."""
        store = type(job.store)(tmp_path / "here" / job.run.name)
        execute(job.run, Prepared(toy_folder, job.run.config, job.run.task), store, lambda state: None)
        return store

    return SimpleNamespace(out=out, cache=cache, jobs=jobs, here=here, watcher=Watcher())

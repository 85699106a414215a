"""A run's result does not depend on how often it is evaluated, on how many run beside it, or on what ran before."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from benchmark.grid.executor import execute_jobs
from benchmark.grid.jobs import RunJob
from benchmark.grid.launchers import local
from benchmark.run.loop import execute
from benchmark.run.store import RunStore
from tests.benchmark.reporting.outcomes import of_run, without_times


class Silent:
    def started(self, job): ...
    def progress(self, job, state): ...
    def ended(self, job, outcome): ...


@pytest.mark.parametrize("method", ["ppo", "dpo", "zopro"])
def test_evaluations_leave_the_run_alone(method, prepared, make_run, tmp_path):
    """Adapters and every update are the same for one evaluation and for four; so are the points that both have."""
    stores = []
    for points in (1, 4):
        stores.append(RunStore(tmp_path / str(points)))
        execute(make_run(method, f"points={points}"), prepared, stores[-1], lambda state: None)
    seldom, often = stores
    assert seldom.digests() == often.digests() and len(seldom.digests()) == 6
    rows = [[without_times(row) for row in store.rows("updates.jsonl")] for store in stores]
    assert rows[0] == rows[1]
    curve = [without_times(row) for row in often.rows("curve.jsonl")]
    assert all(without_times(row) in curve for row in seldom.rows("curve.jsonl"))
    assert len(curve) == len(seldom.rows("curve.jsonl")) + 3


def test_runs_beside_and_before_a_run_change_nothing(make_run, toy_folder, tmp_path):
    """One after the other in this process, in two processes, and alone with the global generators moved on."""
    methods = ("zopro", "rloo", "mezo")
    found = []
    for number, workers in enumerate((0, 2)):
        jobs = [RunJob(make_run(method), toy_folder, tmp_path / str(number)) for method in methods]
        assert not execute_jobs(jobs, local(workers), Silent()).failed
        found.append({job.run.method: of_run(job.store) for job in jobs})
    assert found[0] == found[1]
    torch.rand(7), np.random.rand(7), random.random()
    alone = RunJob(make_run("mezo"), toy_folder, tmp_path / "alone")
    assert not execute_jobs([alone], local(0), Silent()).failed
    assert of_run(alone.store) == found[0]["mezo"]

"""Ray with two workers on this machine."""

from __future__ import annotations

import time

import pytest

from benchmark.core.sections import EngineSettings
from benchmark.engines.head import execute_elsewhere
from benchmark.engines.queue import ALIVE, CANCELLED, ENDED, LOST, Ledger
from benchmark.engines.ray_tasks import RayTasks
from tests.benchmark.reporting.outcomes import of_run

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_a_grid_through_ray_is_the_grid_of_this_machine(cluster, grid):
    jobs = grid.jobs("rloo", "mezo")
    outcome = execute_elsewhere(jobs, RayTasks(), Ledger(grid.out), grid.cache, grid.watcher)
    assert not outcome.failed and set(outcome.done) == {job.name for job in jobs}
    for job in jobs:
        assert of_run(job.store) == of_run(grid.here(job))


def test_the_states_of_ray_in_the_words_of_the_suite(cluster):
    engine = RayTasks()
    (ended,) = engine.send([["no-such-bundle"]], EngineSettings())
    (waiting,) = engine.send([["no-such-bundle"]], EngineSettings(cpus=9))
    assert engine.fate(waiting) == ALIVE and engine.fate("of an earlier command") == LOST
    engine.cancel([waiting, ended + "x"])
    end = time.monotonic() + 120
    while ALIVE in (engine.fate(ended), engine.fate(waiting)):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert (engine.fate(ended), engine.fate(waiting)) == (ENDED, CANCELLED)

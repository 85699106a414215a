"""A run that was interrupted anywhere goes on to the same curve, adapters and tables."""

from __future__ import annotations

import json
import shutil

import pytest

from baselines.registry import METHODS
from benchmark.budget import Meter
from benchmark.runner import Execution, execute
from benchmark.store import RunStore

STOPS = (1, 3, 5)  # updates during whose log the run is interrupted


class Stopped(Exception):
    """Stands for a kill: nothing of the run's own code runs after it."""


def without_seconds(value):
    """A row or summary less everything that is a time."""
    if isinstance(value, dict):
        return {key: without_seconds(item) for key, item in value.items() if key not in ("seconds", "ledgers")}
    return value


def result(store):
    """All of a finished run that must not depend on interruptions."""
    summary = store.summary()
    rows = {name: [without_seconds(row) for row in store.rows(name)]
            for name in ("curve.jsonl", "updates.jsonl", "samples.jsonl")}
    for name in ("wall_seconds", "peak_memory_mib", "resumed"):
        summary.pop(name)
    return rows, without_seconds(summary), store.digests()


@pytest.fixture
def interrupted(prepared, make_run, tmp_path):
    """``interrupted(method, stops, *assignments)`` → notes and store of a run that was stopped at each of ``stops``."""
    def run(method, stops, *assignments):
        store, notes = RunStore(tmp_path / f"{method}-stopped"), []
        run = make_run(method, "checkpoint_seconds=0", *assignments)
        for stop in [*stops, None]:
            def report(state, stop=stop):
                if "note" in state:
                    notes.append(state["note"])
                    return
                if stop is not None and len(store.rows("updates.jsonl")) == stop:
                    raise Stopped

            if stop is None:
                execute(run, prepared, store, report)
                return notes, store
            with pytest.raises(Stopped):
                execute(run, prepared, store, report)

    return run


@pytest.fixture
def whole(prepared, make_run, tmp_path):
    def run(method, *assignments):
        store = RunStore(tmp_path / f"{method}-whole")
        execute(make_run(method, *assignments), prepared, store, lambda state: None)
        return store

    return run


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.group == "main"])
def test_an_interrupted_run_ends_as_one_that_was_not(method, interrupted, whole):
    settings = ("budget.limit=6", "iterations=3", "refine_pairs=4")
    notes, store = interrupted(method, STOPS, *settings)
    assert result(store) == result(whole(method, *settings))
    summary = store.summary()
    assert summary["resumed"] == {"count": 2, "after_updates": [2, 4]}  # before update 2 there is no checkpoint
    assert notes == ["goes on after update 2", "goes on after update 4"]
    assert sum(summary["ledgers"].values()) == pytest.approx(summary["wall_seconds"], rel=0.01)
    assert not store.checkpoints.folder.exists()

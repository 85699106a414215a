"""Run directories and identities."""

from __future__ import annotations

import json

import pytest
import torch

from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.plan.run import make_runs
from benchmark.plan.sources import TaskSource
from benchmark.run.store import RunStore, comparable


def test_a_run_is_done_only_with_its_summary(tmp_path):
    store = RunStore(tmp_path / "run")
    store.start({"a": 1}, {"b": 2})
    store.append("curve.jsonl", {"x": 1})
    assert not store.done
    store.finish({"status": "done"})
    assert store.done and store.summary() == {"status": "done"}
    assert not list(store.folder.glob("*.part"))


def test_starting_again_removes_what_an_attempt_left(tmp_path):
    store = RunStore(tmp_path / "run")
    store.start({}, {})
    store.append("curve.jsonl", {"x": 1})
    store.fail("RunError", "why")
    store.start({}, {})
    assert sorted(p.name for p in store.folder.iterdir()) == ["config.json", "environment.json"]


def test_a_reduced_run_keeps_the_hashes_of_its_adapters(tmp_path):
    store = RunStore(tmp_path / "run")
    store.start({}, {})
    store.append("updates.jsonl", {"x": 1})
    store.append("curve.jsonl", {"x": 1})
    store.save_adapters(0, {"a": torch.zeros(2)}, {"b": torch.ones(2)})
    digests = store.digests()
    assert list(digests) == ["iteration_0/policy.safetensors", "iteration_0/reward.safetensors"]
    assert all(len(digest) == 64 for digest in digests.values()) and len(set(digests.values())) == 2
    store.tidy("curves")
    assert sorted(p.name for p in store.folder.iterdir()) == ["config.json", "curve.jsonl", "environment.json"]


def test_a_damaged_summary_is_named(tmp_path):
    store = RunStore(tmp_path)
    (tmp_path / "summary.json").write_text('{"status": "do')
    with pytest.raises(BenchmarkError, match=r"summary.json.*run it again"):
        store.summary()


def test_numbers_that_are_not_finite_are_never_written(tmp_path):
    store = RunStore(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        store.append("curve.jsonl", {"reward": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        store.finish({"reward": float("inf")})
    assert not store.done


def test_updates_are_differences_of_adapters(tmp_path):
    store = RunStore(tmp_path)
    for iteration, value in enumerate((1.0, 3.0)):
        store.save_adapters(iteration, {"p": torch.full((2,), value)}, {"r": torch.full((2,), -value)})
    assert store.policy_update(0)["p"].tolist() == [2, 2]
    assert store.reward_update(0)["r"].tolist() == [-2, -2]


def test_the_identity_changes_with_what_can_change_a_result_and_with_nothing_else(make_run):
    base = make_run("zopro")
    same = [make_run("zopro", "execution.workers=7"), make_run("zopro", "mezo.lr=0.5"),
            make_run("zopro", "data.folder=somewhere")]
    other = [make_run("zopro", "zopro.lr=0.5"), make_run("zopro", seed=1), make_run("rloo"),
             make_run("zopro", "threads=2"), make_run("zopro", "temperature=0.5"), make_run("zopro", "iterations=1")]
    assert {run.hash for run in same} == {base.hash}
    assert len({run.hash for run in [base, *other]}) == len(other) + 1
    assert json.loads(json.dumps(base.identity()))["budget"] == {"kind": "updates", "limit": 4}


def test_the_grid_has_every_cell_once(toy_config, toy_sources):
    source = TaskSource("wmt20_mlqe", toy_sources["wmt20_mlqe"].data)
    runs = make_runs(toy_config, {"wmt20_mlqe": source}, ["rloo", "dpo"], [0, 1])
    assert [(run.method, run.seed) for run in runs] == [("rloo", 0), ("dpo", 0), ("rloo", 1), ("dpo", 1)]
    assert len({run.name for run in runs}) == 4


def test_completions_per_update_must_divide(toy_config, toy_sources):
    from benchmark.plan.resolve import with_assignments

    with pytest.raises(ConfigError, match="multiple of k = 3"):
        make_runs(with_assignments(toy_config, ["rloo.k=3"], []), toy_sources, ["rloo"], [0])


def test_a_run_goes_on_with_other_cores_but_not_on_another_processor():
    made = {"threads": 1, "device": "cuda:0", "commit": "a", "hardware": {"cpu": "x", "cores": 8, "gpu": "h"}}
    moved = {**made, "device": "cuda:3", "commit": "b", "hardware": {**made["hardware"], "cores": 64}}
    assert comparable(made) == comparable(moved)
    for other in ({"threads": 2}, {"device": "cpu"}, {"hardware": {**made["hardware"], "gpu": "a"}},
                  {"hardware": {**made["hardware"], "cpu": "y"}}):
        assert comparable(made) != comparable({**made, **other}), other


def test_which_of_several_devices_a_run_gets_is_no_part_of_its_name(make_run):
    first, second, other = (make_run("rloo", f"device={device}") for device in ("cuda:0", "cuda:3", "cpu"))
    assert first.name == second.name != other.name
    assert make_run("rloo", "device=cuda").name == first.name

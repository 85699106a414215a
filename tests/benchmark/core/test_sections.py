"""Fields that came later: what was written before them is read as it was meant, and keeps its hashes."""

from __future__ import annotations

import json

import pytest
import torch

from baselines.registry import METHODS
from benchmark.core import provenance
from benchmark.core.sections import LATER, SECTIONS, with_later, without_later
from benchmark.plan.resolve import Config, with_assignments
from benchmark.plan.run import Run, load_run
from benchmark.run.prepared import preparation_key

VERSIONS = {"task_version": "1.0", "revision": "x"}


def test_before_they_came_their_defaults_held():
    for section, fields in ((section, LATER[section]) for section in LATER if section in SECTIONS):
        assert {name: before({}) for name, before in fields.items()} == {
            name: getattr(SECTIONS[section](), name) for name in fields}
        assert without_later({section: vars(SECTIONS[section]())}).keys() == {section}
        assert not without_later({section: vars(SECTIONS[section]())})[section].keys() & fields.keys()
    changed = {"adapter": {"kind": "norms", "only": "x", "rank": 8}, "other": 1}
    assert without_later(changed) == changed == with_later(changed)


def test_hyperparameters_that_came_later_are_those_of_a_method():
    defaults = {name: spec.default for name, spec in METHODS["zopro"].fields().items()}
    assert {name: before({}) for name, before in LATER["method"].items()} == {
        name: defaults[name] for name in LATER["method"]}
    assert without_later({"method": {"samples": 1, "lr": 0.1}}) == {"method": {"lr": 0.1}}
    assert with_later({"method": {"lr": 0.1}}) == {"method": {"lr": 0.1}}  # not every method has them


@pytest.fixture
def old_run(tmp_path):
    """``old_run(rank)`` → a run as it was stored before ``adapter.kind``, and read now."""
    def read(rank):
        run = Run("hh_rlhf", "mezo", 0, Config(), VERSIONS)
        config = without_later(run.resolved())
        config["adapter"]["rank"] = rank
        assert "kind" not in config["adapter"] and "only" not in config["adapter"]
        (tmp_path / "config.json").write_text(json.dumps({"run": run.identity(), "config": config}))
        return load_run(tmp_path)

    return read


@pytest.mark.parametrize(("rank", "kind", "hash", "key"), [
    (8, "lora", "fba14129", "476b2c5f8944"), (0, "full", "dae1b05c", "911e2b176b7e")])
def test_old_runs_keep_meaning_hash_and_preparation(rank, kind, hash, key, old_run, monkeypatch):
    """The literals were computed by the code before the fields."""
    monkeypatch.setattr(provenance, "packages", dict)
    monkeypatch.setattr(torch, "__version__", "0")
    run = old_run(rank)
    assert (run.config.adapter.kind, run.config.adapter.only) == (kind, "")
    assert (run.hash, preparation_key(run.config, run.task, run.seed, run.versions)) == (hash, key)


def test_what_is_trained_is_in_the_hash_of_a_run_and_not_in_that_of_its_preparation():
    configs = [with_assignments(Config(), chosen, []) for chosen in (
        [], ["adapter.kind=norms"], ["adapter.kind=full"], ["only=x"], ["adapter.kind=full", "only=x"])]
    assert len({Run("hh_rlhf", "mezo", 0, config, VERSIONS).hash for config in configs}) == len(configs)
    assert len({preparation_key(config, "hh_rlhf", 0, VERSIONS) for config in configs}) == 1

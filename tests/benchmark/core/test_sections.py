"""Fields that came later: what was written before them is read as it was meant, and keeps its hashes."""

from __future__ import annotations

import json

import pytest

from baselines.registry import METHODS
from benchmark.core.sections import LATER, LATER_SECTIONS, SECTIONS, EvaluationSettings, with_later, without_later
from benchmark.plan.resolve import Config, with_assignments
from benchmark.plan.run import Run, load_run
from benchmark.run.prepared import preparation_key

VERSIONS = {"task_version": "1.0", "revision": "x"}


def test_what_held_before_they_came_is_left_out_and_put_back():
    for section, fields in ((section, LATER[section]) for section in LATER if section in SECTIONS):
        before = vars(SECTIONS[section]()) | {name: value({}) for name, value in fields.items()}
        assert not without_later({section: before}).get(section, {}).keys() & fields.keys()
        assert with_later(without_later({section: before}))[section] == before
    changed = {"adapter": {"kind": "norms", "only": "x", "rank": 8}, "other": 1, "preferences": {"hub": "a/b"}}
    assert without_later(changed) == changed
    whole = {name: vars(SECTIONS[name]()) for name in LATER_SECTIONS}
    assert with_later(changed) == changed | {"preferences": whole["preferences"] | {"hub": "a/b"}}
    assert with_later({"other": 1}) == {"other": 1} | whole


def test_a_section_with_the_name_of_a_task_is_that_tasks():
    config = with_assignments(Config(), ["preferences.hub=a/b"], [])
    assert config.for_task("preferences").preferences.hub == "a/b"
    assert Run("hh_rlhf", "mezo", 0, config.for_task("hh_rlhf"), VERSIONS).hash == Run(
        "hh_rlhf", "mezo", 0, Config(), VERSIONS).hash


def test_hyperparameters_that_came_later_are_those_of_a_method():
    defaults = {name: spec.default for name, spec in METHODS["zopro"].fields().items()}
    assert {name: before({}) for name, before in LATER["method"].items()} == {
        name: defaults[name] for name in LATER["method"]}
    assert without_later({"method": {"samples": 1, "lr": 0.1}}) == {"method": {"lr": 0.1}}
    assert with_later({"method": {"lr": 0.1}})["method"] == {"lr": 0.1}  # not every method has them


@pytest.fixture
def old_run(tmp_path):
    """``old_run(rank)`` → a run as it was stored under protocol 1.1, before ``adapter.kind``, and read now."""
    def read(rank):
        evaluation = EvaluationSettings(test_prompts=128, validation_completions=1, test_completions=1)
        run = Run("hh_rlhf", "mezo", 0, Config(evaluation=evaluation), VERSIONS, "1.1")
        config = without_later(run.resolved())
        config["adapter"]["rank"] = rank
        assert "kind" not in config["adapter"] and "test_completions" not in config["evaluation"]
        (tmp_path / "config.json").write_text(json.dumps({"run": run.identity(), "config": config}))
        return load_run(tmp_path)

    return read


@pytest.mark.parametrize(("rank", "kind", "hash"), [(8, "lora", "fba14129"), (0, "full", "dae1b05c")])
def test_old_runs_keep_meaning_and_hash(rank, kind, hash, old_run):
    """The literals were computed by the code before the fields."""
    run = old_run(rank)
    assert (run.config.adapter.kind, run.config.adapter.only, run.hash) == (kind, "", hash)
    assert run.config.evaluation.test_completions == 1 and run.identity()["protocol"] == "1.1"


def test_what_is_trained_is_in_the_hash_of_a_run_and_not_in_that_of_its_preparation():
    configs = [with_assignments(Config(), chosen, []) for chosen in (
        [], ["adapter.kind=norms"], ["adapter.kind=full"], ["only=x"], ["adapter.kind=full", "only=x"])]
    assert len({Run("hh_rlhf", "mezo", 0, config, VERSIONS).hash for config in configs}) == len(configs)
    assert len({preparation_key(config, "hh_rlhf", 0, VERSIONS) for config in configs}) == 1

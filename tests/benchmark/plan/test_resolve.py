"""Profiles and ``--set``: everything is checked, nothing is ignored."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

from baselines import hyperparameters
from baselines.registry import METHODS, get_method
from benchmark.core.errors import ConfigError
from benchmark.core.sections import SECTIONS
from benchmark.plan.resolve import Config, load_profile, profiles, with_assignments

ROOT = Path(__file__).parents[3]


def test_every_profile_loads():
    assert {"smoke", "tiny", "paper"} <= set(profiles())
    for name in profiles():
        assert load_profile(name).profile == name


def test_the_paper_profile_is_the_published_setup():
    config = load_profile("paper")
    assert (config.adapter.rank, config.adapter.alpha, config.decoding.max_new_tokens) == (64, 128, 53)
    assert config.methods == {}  # every method at its published hyperparameters
    zopro = get_method("zopro").resolved({})
    assert (zopro["lr"], zopro["epsilon"], zopro["decay"], zopro["initial_weight"]) == (1e-4, 1e-5, "linear", 0.999)
    assert get_method("rloo").resolved({})["lr"] == 5e-5


@pytest.mark.parametrize(("assignment", "words"), [
    ("loop.iterations", "expected key=value"),
    ("loop.iteration=2", "Did you mean iterations"),
    ("lop.iterations=2", "Did you mean loop"),
    ("iterations=two", "takes a whole number"),
    ("iterations=1.5", "takes a whole number"),
    ("iterations=0", "at least 1"),
    ("judge.kind=oracle", "one of auto, gold"),
    ("temperature=nan", "takes a number"),
    ("steps=3", "ambiguous"),
    ("zopro.decay=cosine", "one of linear, exp"),
    ("zopro.rl=1", "Did you mean lr"),
    ("trust_remote_code=maybe", "true or false"),
    ("adapter.rank=0", r"--set adapter\.rank=0: .* at least 1, not 0\. To train all .* adapter\.kind=full"),
    ("adapter.kind=norm", "one of lora, norms, full"),
    ("only=layers.(1", r"--set only=.* is no regular expression \(.*Put a backslash"),
])
def test_a_wrong_assignment_says_what_is_wrong(assignment, words):
    with pytest.raises(ConfigError, match=words):
        with_assignments(Config(), [assignment], list(METHODS))


def test_a_bare_hyperparameter_goes_to_every_selected_method_that_has_it():
    config = with_assignments(Config(), ["epsilon=0.5", "iterations=3"], ["mezo", "rloo", "zopro"])
    assert config.loop.iterations == 3
    assert config.methods == {
        "mezo": {"epsilon": 0.5}, "zopro": {"epsilon": 0.5}}


def test_an_unknown_profile_names_near_ones():
    with pytest.raises(ConfigError, match="Did you mean tiny"):
        load_profile("tyni")


def test_a_profile_file_with_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[loop]\niterations = 2\nepochs = 1\n")
    with pytest.raises(ConfigError, match=r"mine\.toml.*epochs"):
        load_profile(str(path))
    path.write_text("[loop]\niterations = 3\n")
    assert load_profile(str(path)).loop.iterations == 3


def test_a_task_has_overrides_of_its_own_and_a_user_has_the_last_word(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[sft]\nsteps = 5\n[tasks.hh_rlhf.sft]\nsteps = 7\n")
    config = load_profile(str(path))
    assert [config.for_task(t).sft.steps for t in ("hh_rlhf", "wmt20_mlqe")] == [7, 5]
    assert config.for_task("wmt20_mlqe").as_dict() == load_profile(str(path)).as_dict()
    config = with_assignments(config, ["sft.steps=9"], [])
    assert [config.for_task(t).sft.steps for t in ("hh_rlhf", "wmt20_mlqe")] == [9, 9]
    path.write_text("[tasks.hh_rlhf.sft]\nstep = 7\n")
    with pytest.raises(ConfigError, match="Did you mean steps"):
        load_profile(str(path))


def test_every_field_is_read_by_some_code():
    """A configuration field that no code reads is a bug."""
    read = set()
    for folder in ("benchmark", "baselines", "tasks"):
        for path in (ROOT / folder).rglob("*.py"):
            read |= {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    fields = {f.name for cls in SECTIONS.values() for f in dataclasses.fields(cls)}
    for name in dir(hyperparameters):
        cls = getattr(hyperparameters, name)
        if dataclasses.is_dataclass(cls):
            fields |= {f.name for f in dataclasses.fields(cls)}
    assert fields - read == set()


def test_every_hyperparameter_has_help_and_source():
    for method in METHODS.values():
        for name, spec in method.fields().items():
            assert spec.metadata["help"] and spec.metadata["source"], f"{method.name}.{name}"


def test_no_place_of_this_machine_enters_the_resolved_configuration(tmp_path):
    config = with_assignments(Config(), [f"data.folder={tmp_path}"], [])
    assert str(tmp_path) not in str(config.as_dict())

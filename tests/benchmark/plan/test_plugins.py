"""Plugins: what they add is there, what they cannot be is said, and what they change is in the names of runs."""

from __future__ import annotations

import pickle
import sys
import types
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch

from baselines.registry import METHODS
from benchmark.cli import main
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.sections import JUDGES
from benchmark.grid.jobs import RunJob, attempt
from benchmark.plan import plugins
from benchmark.plan.plugins import LOADED, TABLES, load_again, load_plugins, plugins_of
from benchmark.plan.resolve import Config, with_assignments
from benchmark.plan.run import load_run, make_runs
from benchmark.plan.sources import TaskSource
from benchmark.run.prepared import Prepared, preparation_folder
from benchmark.start.check import check_model
from benchmark.studies.tuning.spaces import load_space

IMPORTS = "from baselines.registry import *\nfrom baselines import hyperparameters as hp\nfrom tasks import TASKS\n"
ROW = IMPORTS + 'METHODS["mine"] = Method("mine", "rloo", ZerothOrder("gaussian"), "mine", group="mine", base="mezo")\n'
PARTS = IMPORTS + """
class Rule: ...
RULES["own_rule"] = Part(f"{__name__}:Rule", hp.SGDSettings)
METHODS["part"] = Method("part", "rloo", ZerothOrder("gaussian", rule="own_rule"), "part", base="mezo")
"""
TASK = IMPORTS + """
from tasks.hh_rlhf import HHRLHF
class Own(HHRLHF):
    name, title = "own_task", "Own task"
TASKS["own_task"] = f"{__name__}:Own"
"""
JUDGE = """
from benchmark.core.sections import JUDGES
class First:
    def __init__(self, settings, adapter, device):
        self.said = settings.path, adapter.prompt_role, device.type
    def prefer(self, prompts, first, second):
        return [1] * len(prompts)
JUDGES["first"] = f"{__name__}:First"
"""


@pytest.fixture(autouse=True)
def tables():
    """Tables, plugins and modules are afterwards as they were."""
    before, modules, loaded = {kind: dict(table) for kind, table in TABLES.items()}, set(sys.modules), dict(LOADED)
    yield
    for kind, table in TABLES.items():
        table.clear()
        table.update(before[kind])
    LOADED.clear()
    LOADED.update(loaded)
    for name in set(sys.modules) - modules:
        if name.startswith("plugged"):
            del sys.modules[name]


@pytest.fixture
def file(tmp_path):
    """``file(text, name)`` → the path of a plugin."""
    def write(text=ROW, name="plugged"):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        return path

    return write


def runs(method="mine", task="wmt20_mlqe", *assignments):
    source = TaskSource(task, SimpleNamespace(version="1.0", revision="x"))
    return make_runs(with_assignments(Config(), assignments, []), {task: source}, [method], [0])[0]


def test_a_file_adds_its_lines_and_is_named_with_its_code(file):
    path = file()
    load_plugins([path, path])
    plugin = LOADED["plugged"]
    assert plugin.added == {("method", "mine")} and plugin.origin == "a file" and METHODS["mine"].base == "mezo"
    assert plugins_of("wmt20_mlqe", "mine", "auto") == {"plugged": f"a file, {plugin.digest}"}
    run = runs()
    assert run.identity()["plugins"] == plugins_of("wmt20_mlqe", "mine", "gold") and len(plugin.digest) == 16


def test_only_runs_that_use_a_plugin_bear_its_name(file):
    before = [runs("mezo"), runs("rloo")]
    load_plugins([file(ROW), file(PARTS, "plugged_parts")])
    assert [run.name for run in before] == [runs("mezo").name, runs("rloo").name]
    assert "plugins" not in runs("mezo").identity()
    METHODS["mixed"] = METHODS["mine"].__class__("mixed", "rloo", METHODS["part"].estimator, "of another's rule")
    assert list(plugins_of("wmt20_mlqe", "mixed", "auto")) == ["plugged_parts"]


def test_changed_code_is_another_run_from_the_same_start(file, tmp_path):
    path = file()
    load_plugins([path])
    first = runs()
    LOADED.clear()
    del METHODS["mine"], sys.modules["plugged"]
    load_plugins([file(ROW + "# changed\n")])
    second = runs()
    assert first.hash != second.hash and preparation_folder(first, tmp_path) == preparation_folder(second, tmp_path)


def test_the_code_of_a_task_is_in_its_version(file, tmp_path):
    load_plugins([file(TASK)])
    run = runs("mezo", "own_task")
    assert run.versions["task_version"] == f"1.0+{LOADED['plugged'].digest}" and list(run.versions["plugins"]) == [
        "plugged"]
    assert preparation_folder(run, tmp_path).name.startswith("own_task__s0__")


@pytest.mark.parametrize("changed", ["__init__.py", "other.py"])
def test_packages_are_found_by_their_entry_points(changed, tmp_path, monkeypatch):
    folder = tmp_path / "plugged_package"
    (folder / "spaces").mkdir(parents=True)
    if changed == "__init__.py":  # else a package without one
        (folder / changed).write_text("")
    (folder / "rows.py").write_text(ROW)
    (folder / "spaces" / "lora.toml").write_text('[methods.mine]\nlr = {low = 1e-5, high = 1e-3, source = "here"}\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    entries = [metadata.EntryPoint(name, "plugged_package.rows", group) for name, group in zip(
        "abc", plugins.GROUPS, strict=True)]
    monkeypatch.setattr(plugins.metadata, "entry_points", lambda group: [e for e in entries if e.group == group])
    load_plugins([])
    plugin = LOADED["plugged_package.rows"]
    assert plugin.added == {("method", "mine")} and plugin.origin == "a package" and not plugin.file
    space = {dimension.name: dimension for dimension in load_space("mine", "lora").dimensions}
    assert space["lr"].low == 1e-5 and space["epsilon"] in load_space("mezo", "lora").dimensions  # the rest: its base's
    LOADED.clear()
    del METHODS["mine"], sys.modules["plugged_package.rows"]
    (folder / changed).write_text("# any file of the package\n")
    load_plugins([])
    assert LOADED["plugged_package.rows"].digest != plugin.digest


def test_the_code_of_a_judge_is_in_its_digest_and_in_the_start(file, tmp_path):
    with pytest.raises(ConfigError, match="judge.kind takes one of auto, gold, reward_model, llm, not 'first'"):
        runs("mezo", "wmt20_mlqe", "judge.kind=first")
    names, folders = {runs("mezo").name}, {preparation_folder(runs("mezo"), tmp_path)}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "x").write_text("weights")
    for text, more in ((JUDGE, []), (JUDGE + "# changed\n", []), (JUDGE, [f"judge.path={tmp_path / 'model'}"])):
        LOADED.clear()
        JUDGES.pop("first", None)
        sys.modules.pop("plugged", None)
        load_plugins([file(text)])
        run = runs("mezo", "wmt20_mlqe", "judge.kind=first", *more)
        assert run.versions["plugins"] == {"plugged": f"a file, {LOADED['plugged'].digest}"}
        assert run.versions["judge_digest"].startswith(LOADED["plugged"].digest)
        names.add(run.name)
        folders.add(preparation_folder(run, tmp_path))
    assert len(names) == len(folders) == 4
    assert "plugins" not in runs("mezo").versions and runs("mezo").name in names


def test_the_judge_of_a_plugin_is_made_of_settings_task_and_device(file, tmp_path):
    load_plugins([file(JUDGE)])
    config = with_assignments(Config(), ["judge.kind=first", "judge.path=here"], [])
    prepared = object.__new__(Prepared)
    prepared.info, prepared.config = {"judge": {"kind": "first"}}, config
    prepared.adapter, prepared.device = SimpleNamespace(prompt_role="Text"), torch.device("cpu")
    judge = prepared.judge()
    assert judge.said == ("here", "Text", "cpu") and judge.prefer(["?"], ["a"], ["b"]) == [1]


@pytest.mark.parametrize(("target", "words"), [
    ("{__name__}:Nothing", "plugged:Nothing cannot be imported"), ("math:sin", "math:sin has no method prefer")])
def test_a_judge_that_cannot_judge_stops_the_command(target, words, file, toy_config):
    load_plugins([file(JUDGE.replace("{__name__}:First", target))])
    with pytest.raises(ConfigError, match=words):
        check_model(with_assignments(toy_config, ["judge.kind=first"], []))


def test_a_method_without_a_space_of_its_own_is_searched_where_its_base_is(file):
    load_plugins([file()])
    assert load_space("mine", "lora") == load_space("mezo", "lora")


@pytest.mark.parametrize(("text", "words"), [
    ("1 / 0", "plugin plugged: cannot be loaded, line 1 of plugged.py: ZeroDivisionError"),
    ("def", "plugin plugged: cannot be loaded.*SyntaxError"),
    ("x = 1", "adds nothing"),
    (ROW.replace('"mine"', '"mezo"'), "the method mezo is there already"),
    (IMPORTS + 'del METHODS["mezo"]', "the method mezo is there already"),
    (ROW.replace('["mine"]', '["other"]'), "method other: expected a Method of that name"),
    (ROW.replace("gaussian", "gausian"), "cannot be loaded.*gausian"),
    (ROW.replace('"mine"', '"../mine"'), "a name has letters"),
    (JUDGE.replace("{__name__}:First", "first"), "judge first: expected \"module:Class\", not 'first'"),
    (JUDGE.replace('["first"]', '["gold"]'), "the judge gold is there already"),
    (TASK.replace('TASKS["own_task"]', 'TASKS["other"]'), "the adapter calls itself 'own_task'"),
])
def test_what_a_plugin_cannot_be_is_said_and_leaves_nothing(text, words, file):
    before = {kind: dict(table) for kind, table in TABLES.items()}
    with pytest.raises(ConfigError, match=words):
        load_plugins([file(text)])
    assert before == TABLES and not LOADED


@pytest.mark.parametrize(("name", "words"), [("json", "Rename the file"), ("no-name", "Rename the file")])
def test_the_name_of_a_file_is_that_of_a_module_of_its_own(name, words, file, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=words):
        load_plugins([file(ROW, name)])
    path = file(ROW, "plugged_here")
    monkeypatch.syspath_prepend(tmp_path)  # as it is in the folder one works in
    load_plugins([path])
    with pytest.raises(ConfigError, match="no such Python file"):
        load_plugins([tmp_path / "none.py"])


def test_another_process_takes_the_same_code_or_none(file, tmp_path):
    path = file()
    load_plugins([path])
    told = pickle.loads(pickle.dumps(tuple(LOADED.values())))
    job = RunJob(runs(), tmp_path / "none", tmp_path / "out")
    load_again(told)  # nothing to do

    def forget():
        LOADED.clear()
        del METHODS["mine"], sys.modules["plugged"]

    forget()
    load_again(told)
    assert "mine" in METHODS
    forget()
    path.write_text(ROW + "# changed\n")
    outcome = attempt(job, lambda state: None, told)
    assert outcome["status"] == "failed" and "changed since the command began" in outcome["message"]


def test_a_run_whose_plugin_is_not_there_says_so(file, tmp_path):
    from benchmark.core.files import write_json

    load_plugins([file()])
    run = runs()
    write_json(tmp_path / "config.json", {"run": run.identity(), "config": run.resolved()})
    assert load_run(tmp_path).name == run.name
    LOADED.clear()
    with pytest.raises(BenchmarkError, match="needs the plugin plugged: pass --plugin FILE"):
        load_run(tmp_path)


def test_list_shows_what_was_added_and_commands_that_read_results_load_nothing(file, tmp_path, capsys):
    path = file()
    for command in ("report", "status", "clean"):
        with pytest.raises(SystemExit):
            main([command, str(tmp_path), "--plugin", str(path)])
    assert not LOADED
    capsys.readouterr()
    assert main(["list", "--plugin", str(path)]) == 0
    said = capsys.readouterr().out
    assert "rloo × gaussian × two_point × sgd" in said.split("\n  mine\n")[1].splitlines()[0]
    assert f"plugged      a file, {LOADED['plugged'].digest}: method mine" in said


def test_installed_packages_are_not_looked_for_by_commands_that_read_results(monkeypatch, tmp_path):
    monkeypatch.setattr(plugins, "metadata", types.SimpleNamespace(entry_points=pytest.fail))
    (tmp_path / "empty").mkdir()
    assert main(["status", str(tmp_path / "empty")]) in (0, 2) and main(["report", str(tmp_path / "empty")]) == 2

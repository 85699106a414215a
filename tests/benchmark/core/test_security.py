"""What docs/security.md promises: files are read, never run; names cannot leave their folder; texts steer nothing."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.core.errors import BenchmarkError, ConfigError, ModelError
from benchmark.core.files import value_digest
from benchmark.core.paths import check_plain, own_folder, within
from benchmark.grid.finished import finished_runs
from benchmark.plan.resolve import Config, load_profile, with_assignments
from benchmark.plan.run import load_run
from benchmark.reporting import build_sheets, report, webpage
from benchmark.reporting.pages import markdown
from benchmark.reporting.read import reader
from benchmark.reporting.tables import costs, per_task
from tests.benchmark.reporting.golden import make
from tests.tasks.test_any_rows import places

ROOT = Path(__file__).parents[3]
SOURCES = sorted(path for package in ("benchmark", "baselines", "tasks") for path in (ROOT / package).rglob("*.py"))


# Code: nothing that is read is run.

RUNS_WHAT_IT_READS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "code"}
BARE = {"eval", "exec", "compile", "__import__", "import_module"}  # as bare names: model.eval() is no such call


def name_of(function):
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def keyword(call, name):
    return next((k.value for k in call.keywords if k.arg == name), None)


def is_true(node):
    return isinstance(node, ast.Constant) and node.value is True


def violations(text):
    """Lines of code that read a format which runs code, or start a shell."""
    found = []
    for node in ast.walk(ast.parse(text)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        if any(module.split(".")[0] in RUNS_WHAT_IT_READS for module in modules):
            found.append((node.lineno, "imports a pickle-like module"))
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        owner = getattr(getattr(node.func, "value", None), "id", "")
        shell = owner == "os" and (name in ("system", "popen") or name.startswith(("exec", "spawn")))
        if (name in BARE and owner in ("", "importlib", "builtins")) or shell or name == "read_pickle":
            found.append((node.lineno, name))
        if name == "load" and owner == "torch" and not is_true(keyword(node, "weights_only")):
            found.append((node.lineno, "torch.load without weights_only=True"))
        if name == "load" and owner in ("np", "numpy") and keyword(node, "allow_pickle") is not None:
            found.append((node.lineno, "numpy.load with pickles"))
        if name in ("load", "unsafe_load", "full_load") and owner == "yaml":
            found.append((node.lineno, "yaml.load"))
        if is_true(keyword(node, "shell")):
            found.append((node.lineno, "a shell"))
        if is_true(keyword(node, "trust_remote_code")):
            found.append((node.lineno, "trust_remote_code"))
        if name == "from_pretrained" and keyword(node, "trust_remote_code") is None:
            found.append((node.lineno, "from_pretrained without a word on trust_remote_code"))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_code_is_read_from_files(path):
    found = violations(path.read_text(encoding="utf-8"))
    if path in (ROOT / "benchmark" / "core" / "naming.py",  # the registries and trackers, whose names stand in the code
                ROOT / "benchmark" / "reporting" / "trackers.py"):
        assert [what for _, what in found] == ["import_module"]
    elif path == ROOT / "benchmark" / "commands" / "visualise.py":  # reads adapters of such runs and loads no model
        assert [what for _, what in found] == ["trust_remote_code"]
    else:
        assert found == []


@pytest.mark.parametrize("text", [
    "import pickle", "from joblib import load", "import torch\ntorch.load(f)", "torch.load(f, weights_only=False)",
    "np.load(f, allow_pickle=True)", "eval(x)", "importlib.import_module(x)",
    "os.system(x)", "subprocess.run(x, shell=True)",
    "AutoModel.from_pretrained(p)", "AutoModel.from_pretrained(p, trust_remote_code=True)", "yaml.load(f)",
])
def test_the_scan_finds_what_it_looks_for(text):
    assert violations(text)


def test_weights_are_read_from_safetensors_only(toy_folder, toy_config, tmp_path):
    from benchmark.lm.loading import load_causal_lm, load_scalar_model

    folder = tmp_path / "model"
    shutil.copytree(toy_folder / "policy", folder)
    import torch

    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    for load in (lambda: load_causal_lm(folder, toy_config.model, torch.float32),
                 lambda: load_scalar_model(folder, toy_config.model, torch.float32, 0)):
        with pytest.raises(ModelError, match="safetensors"):
            load()


# Remote code: off unless asked for on the command line, by the model's name.

def test_remote_code_is_off_and_a_profile_cannot_ask_for_it(tmp_path):
    assert not Config().model.trust_remote_code
    for text in ("[model]\ntrust_remote_code = true\n", "[tasks.hh_rlhf.model]\ntrust_remote_code = true\n"):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"mine.toml: .*--set model.trust_remote_code=true yourself"):
            load_profile(str(path))
    assert with_assignments(Config(), ["model.trust_remote_code=true"], []).model.trust_remote_code


@pytest.mark.parametrize(("judge", "trusted"), [("other/model", False), ("some/model", True)])
def test_trust_in_the_policys_model_is_no_trust_in_another_judge(judge, trusted):
    from benchmark.run.prepared import judge_model

    config = with_assignments(Config(), ["model.trust_remote_code=true", "model.path=some/model",
                                         f"judge.path={judge}"], [])
    assert judge_model(config).trust_remote_code is trusted


def test_a_result_folder_cannot_ask_for_remote_code(make_run, tmp_path):
    run = make_run("zopro", "model.trust_remote_code=true", "model.path=evil/model")
    folder = tmp_path / run.name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"run": run.identity(), "config": run.resolved()}))
    (folder / "summary.json").write_text("{}")
    with pytest.raises(BenchmarkError, match=r"evil/model run code of its own.*--trust-remote-code"):
        finished_runs(tmp_path, [run.task], ["zopro"], None)
    assert load_run(folder, trust_remote_code=True).hash == run.hash


@pytest.mark.parametrize(("section", "values"), [
    ("run", {"task": "../../evil"}), ("run", {"task": ["x"]}), ("run", {"method": "../evil"}), ("run", {"seed": "x"}),
    ("config", {"model": {"hidden_size": "wide"}}), ("config", {"loop": {"iterations": -1}}),
    ("config", {"method": {"lr": "fast"}}), ("config", {"model": {"unknown": 1}}), ("config", {"data": []}),
    ("run", {"seed": float("inf")}), ("config", {"budget": {"limit": 10**400}}),
])
def test_a_result_folders_configuration_is_checked_before_it_is_used(make_run, tmp_path, section, values):
    run = make_run("zopro")
    stored = {"run": run.identity(), "config": run.resolved()}
    for key, value in values.items():
        stored[section][key] = {**stored[section][key], **value} if isinstance(value, dict) else value
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(BenchmarkError, match=r"config.json: not a run of this version"):
        load_run(tmp_path)


# Names and links: nothing leads out of a result folder.

BAD_NAMES = ["../evil", "a/b", "/etc/passwd", "..", ".hidden", "", "a b", "a\nb", "a\x1b[2J", "\u202eevil", "x" * 81,
             None, 7, ["x"]]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_a_place_is_refused(name):
    with pytest.raises(BenchmarkError, match="not a plain name"):
        check_plain(name, "task")


def edit(path, **values):
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["run"].update(values)
    path.write_text(json.dumps(stored), encoding="utf-8")


@pytest.mark.parametrize("field", ["task", "method"])
@pytest.mark.parametrize("name", ["x/../../evil", "/tmp/evil", "..\\evil", "a\x1b[31mb"])
def test_a_report_refuses_runs_whose_names_are_places(tmp_path, field, name):
    out = tmp_path / "out"
    run = make.write_run(out, "hh_rlhf", "zopro", 0)
    (out / "report" / "table_x").mkdir(parents=True)  # what an attacker would put there for the way back up
    edit(run / "config.json", **{field: name})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BenchmarkError, match="not a plain name"):
        report(out)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("link", ["summary.json", "samples.jsonl", "error.json", ""])
def test_a_report_does_not_read_through_links_that_lead_out(tmp_path, link):
    out = tmp_path / "out"
    run = make.write_run(out, "hh_rlhf", "zopro", 0)
    secret = tmp_path / "secret"
    if link:
        (run / link).unlink(missing_ok=True)
        secret.write_text('{"password": "hunter2"}', encoding="utf-8")
        (run / link).symlink_to(secret)
    else:
        run.rename(secret)
        run.symlink_to(secret)
    with pytest.raises(BenchmarkError, match="is a link that leads out"):
        reader.read(out)


@pytest.mark.parametrize("link", ["report", "report/report.md", "report/anything"])
def test_a_report_does_not_write_through_links(tmp_path, link):
    out = tmp_path / "out"
    make.write_run(out, "hh_rlhf", "zopro", 0)
    target = tmp_path / "target"
    target.mkdir()
    (target / "report.md").write_text("mine", encoding="utf-8")
    (out / link).parent.mkdir(exist_ok=True)
    (out / link).symlink_to(target if link == "report" else target / "report.md")
    with pytest.raises(BenchmarkError, match="is a link"):
        report(out)
    assert [path.name for path in target.iterdir()] == ["report.md"] and (target / "report.md").read_text() == "mine"


def test_links_within_a_folder_are_fine(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert within(tmp_path, tmp_path / "b") == tmp_path / "b"
    assert own_folder(tmp_path, "c").is_dir()


def test_a_profiles_name_cannot_be_a_place(tmp_path):
    path = tmp_path / "...toml"
    path.write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="name has letters"):
        load_profile(str(path))


# Contents: whatever stands in the files of a run, a report of it is made, or an error names the file.

ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(
    [[], [1], {}, {"a": 1}, {"a": {"b": []}}])


@pytest.fixture(scope="module")
def one_run(tmp_path_factory):
    return make.write_run(tmp_path_factory.mktemp("one"), "hh_rlhf", "zopro", 0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_file_of_a_run_with_anything_in_it_is_reported_or_named(one_run, data):
    files = ["config.json", "environment.json", "summary.json", "curve.jsonl", "samples.jsonl"]
    file = data.draw(st.sampled_from(files))
    text = (one_run / file).read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()] if file.endswith("l") else [json.loads(text)]
    *way, last = data.draw(st.sampled_from(list(places(lines))))
    holder = lines
    for key in way:
        holder = holder[key]
    holder[last] = data.draw(ODD)
    (one_run / file).write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    try:
        results = reader.read(one_run.parent)
        built = [per_task.build(results, task) for task in results.tasks]
        sheets = build_sheets(results, built)
        assert markdown.render(results, built, sheets, []) and webpage.render(results, built, sheets)
    except BenchmarkError as error:
        assert file in str(error)
    finally:
        (one_run / file).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("name", "value"), [("samples", "a"), ("samples", None), ("epochs", "x")])
def test_a_hyperparameter_of_another_kind_predicts_no_cost(tmp_path, name, value):
    path = make.write_run(tmp_path, "hh_rlhf", "mezo", 0) / "config.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert costs.predicted(*reader.read(tmp_path).runs) == (3, 2, 1)
    stored["config"]["method"][name] = value
    path.write_text(json.dumps(stored), encoding="utf-8")
    results = reader.read(tmp_path)
    assert costs.predicted(*results.runs) is None and build_sheets(results, [per_task.build(results, "hh_rlhf")])


def signed(summary):
    return {**summary, "digest": value_digest(summary)}


@pytest.mark.parametrize("change", [
    lambda summary: {**summary, "digest": "x"},
    signed,  # no files
    lambda summary: signed({**summary, "files": []}),
    lambda summary: {**summary, "warnings": ["\ud800"], "digest": "x"},
    lambda summary: {**summary, "resumed": "x"},
], ids=["digest", "no files", "files", "surrogate", "resumed"])
def test_a_summary_whose_checksums_are_odd_is_named(tmp_path, change):
    path = make.write_run(tmp_path, "hh_rlhf", "zopro", 0) / "summary.json"
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(BenchmarkError, match=r"summary.json"):
        reader.read(tmp_path)

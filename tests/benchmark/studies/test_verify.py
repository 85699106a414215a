"""Repeating finished runs: identical, within tolerance, different and where first; and runs that were altered."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch

from benchmark.cli import main
from benchmark.commands.run import run_grid
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.grid.finished import finished_runs
from benchmark.run.loop import execute
from benchmark.run.prepared import preparation_folder
from benchmark.run.store import RunStore
from benchmark.studies.verify import SAME_PLATFORM, compare, compare_rows, sample, verify

ROWS = [{"update": 0, "spent": {"tokens": 0, "seconds": 0.1}, "ledgers": {"log": 1.0}, "metrics": {"reward": -2.0}},
        {"update": 4, "spent": {"tokens": 9, "seconds": 0.2}, "ledgers": {"log": 2.0}, "metrics": {"reward": 1.0}}]


def changed(row, group, field, value):
    rows = json.loads(json.dumps(ROWS))
    rows[row][group][field] = value
    return rows


def test_rows_are_compared_field_by_field_without_times():
    assert compare_rows("c", ROWS, ROWS) == (0.0, None)
    assert compare_rows("c", ROWS, changed(1, "spent", "seconds", 7.0)) == (0.0, None)
    assert compare_rows("c", ROWS, changed(1, "ledgers", "log", 7.0)) == (0.0, None)
    largest, first = compare_rows("c", ROWS, changed(1, "metrics", "reward", 1.5))
    assert largest == 0.25  # relative to the largest reward of the stored rows, 2
    assert (first.file, first.update, first.field, first.stored, first.again) == ("c", 4, "metrics.reward", 1.0, 1.5)
    assert str(first) == "c at update 4: metrics.reward is 1.0 in the folder, 1.5 now"


def test_rows_that_are_missing_or_hold_other_fields_are_no_matter_of_tolerance():
    assert compare_rows("c", ROWS, ROWS[:1])[0] == float("inf")
    assert compare_rows("c", ROWS, ROWS[:1])[1].field == "number of rows"
    assert compare_rows("c", ROWS, changed(0, "metrics", "kl", 0.0))[0] == float("inf")
    assert compare_rows("c", ROWS, changed(0, "metrics", "reward", "x"))[0] == float("inf")


@pytest.fixture(scope="module")
def results(toy_config, toy_sources, toy_folder, tmp_path_factory):
    """A result folder with a run of dpo and one of zopro, and the cache that it came from."""
    from benchmark.plan.run import make_runs
    from benchmark.run.prepared import Prepared

    config = replace(toy_config, evaluation=replace(toy_config.evaluation, points=1))
    out, cache = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("cache")
    for run in make_runs(config, toy_sources, ["dpo", "zopro"], [0]):
        folder = preparation_folder(run, cache)
        if not folder.exists():
            shutil.copytree(toy_folder, folder)
        execute(run, Prepared(folder, run.config, run.task), RunStore(out / run.name), lambda state: None)
    return out, cache


@pytest.fixture
def folder(results, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(results[0], tmp_path / "out")


def store_of(folder, method):
    return RunStore(next(folder.glob(f"*__{method}__*")))


def signed(store, change):
    """Rewrite the summary as if the run had ended with ``change``."""
    summary = json.loads((store.folder / "summary.json").read_text())
    del summary["digest"], summary["files"]
    change(summary)
    store.finish(summary)


def edit(store, name, old, new):
    path = store.folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_command_repeats_runs_and_says_so(results, folder, capsys):
    _, cache = results
    assert main(["verify", str(folder), "--cache", str(cache), "--method", "dpo"]) == 0
    output = capsys.readouterr().out
    assert f"{store_of(folder, 'dpo').folder.name}: identical; adapters identical" in output
    assert "1 of 1 runs repeat" in output
    found = json.loads((folder / "verify.json").read_text())
    assert found["counts"] == {"identical": 1, "within tolerance": 0, "different": 0, "failed": 0}
    assert found["runs"][0]["first"] is None and str(folder) not in json.dumps(found)


def test_committed_runs_stay_as_they_are(results, folder, tmp_path, monkeypatch):
    def git(*words):
        return subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True,
                              capture_output=True, text=True).stdout

    git("init", "-q"), git("add", "."), git("commit", "-qm", "runs")
    monkeypatch.chdir(tmp_path)
    options = ["--cache", str(results[1]), "--method", "dpo"]
    assert main(["verify", str(folder), *options]) == 0
    assert git("status", "--porcelain") == "" and (tmp_path / "results/runs/verify/out/verify.json").is_file()
    assert main(["verify", str(folder), *options, "--out", str(folder)]) == 0
    assert git("status", "--porcelain").split() == ["??", "verify.json"]


def test_without_its_preparation_a_run_is_repeated_from_its_rows(results, folder, tmp_path, capsys):
    """As on another machine; with as many threads as its configuration says, whatever this process had."""
    torch.set_num_threads(3)
    assert main(["verify", str(folder), "--cache", str(tmp_path / "empty")]) == 0
    output = capsys.readouterr().out
    assert output.count(": identical; adapters identical") == 2 and "2 of 2 runs repeat" in output
    assert [path.name for path in (tmp_path / "empty").iterdir()] == [path.name for path in results[1].iterdir()]


def test_a_run_that_cannot_be_repeated_is_a_verdict_that_names_no_place(results, folder, monkeypatch, capsys):
    def refuse(run, cache):
        if run.method == "dpo":
            raise ZeroDivisionError(f"in {folder / 'somewhere'}")
        return preparation_folder(run, cache)

    monkeypatch.setattr("benchmark.studies.verify.preparation_folder", refuse)
    assert main(["verify", str(folder), "--cache", str(results[1])]) == 1
    output, text = capsys.readouterr().out, (folder / "verify.json").read_text()
    assert "failed; adapters not recorded; ZeroDivisionError: in " in output and "1 of 2 runs repeat" in output
    assert json.loads(text)["counts"] == {"identical": 1, "within tolerance": 0, "different": 0, "failed": 1}
    assert "somewhere" in text and str(folder) not in text and str(folder.parent) not in text


def test_a_damaged_run_is_named_and_the_others_of_its_grid_are_reported(results, folder, capsys):
    runs = [run for run, _ in finished_runs(folder, ["wmt20_mlqe"], ["dpo", "zopro"], None)]
    edit(store_of(folder, "dpo"), "curve.jsonl", '"reward": ', '"reward": 1')
    assert run_grid(runs, runs[0].config, folder, results[1])[0] == 1
    captured = capsys.readouterr()
    assert "1 of 2 runs are finished already" in captured.out and "1 runs reported" in captured.out
    assert "FAILED" in captured.err and "altered after the run: curve.jsonl" in captured.err


def test_the_command_names_what_differs_and_what_was_damaged(results, folder, capsys):
    store, other = store_of(folder, "zopro"), store_of(folder, "dpo")
    row = store.rows("updates.jsonl")[2]
    edit(store, "updates.jsonl", f'"loss": {row["loss"]}', '"loss": 77.0')
    signed(store, lambda summary: None)
    edit(other, "curve.jsonl", '"reward": ', '"reward": 1')
    assert main(["verify", str(folder), "--cache", str(results[1]), "--tolerance", "0.1"]) == 1
    output = capsys.readouterr().out
    assert f"first: updates.jsonl at update 3: loss is 77.0 in the folder, {row['loss']} now" in output
    assert "altered after the run: curve.jsonl does not match its checksum" in output
    assert "0 of 2 runs repeat" in output
    assert json.loads((folder / "verify.json").read_text())["counts"]["failed"] == 1


def test_the_verdict_follows_rows_adapters_and_tolerance(results, folder):
    out, _ = results
    again, store = store_of(out, "zopro"), store_of(folder, "zopro")
    assert compare("run", store, again, 0.0).verdict == "identical"
    row = store.rows("curve.jsonl")[2]
    edit(store, "curve.jsonl", f'"reward": {row["metrics"]["reward"]}', f'"reward": {row["metrics"]["reward"] + 1e-6}')
    signed(store, lambda summary: summary["adapters"].update({"iteration_1/policy.safetensors": "0" * 64}))
    near = compare("run", store, again, 1e-3)
    assert (near.verdict, near.adapters) == ("within tolerance", "different") and 0 < near.largest < 1e-4
    assert near.first.file == "curve.jsonl" and near.first.field == "metrics.reward"
    assert near.message == SAME_PLATFORM and SAME_PLATFORM in near.line()
    assert compare("run", store, again, 0.0).verdict == "different"
    signed(store, lambda summary: summary.update(status="diverged"))
    assert compare("run", store, again, 1e-3).verdict == "different"


def test_runs_of_earlier_versions_are_compared_by_their_curves(results, folder):
    store = store_of(folder, "dpo")
    summary = store.summary()
    del summary["adapters"]
    (store.folder / "summary.json").write_text(json.dumps(summary))
    verdict = compare("run", store, store_of(results[0], "dpo"), 0.0)
    assert (verdict.verdict, verdict.adapters) == ("identical", "not recorded")


def test_a_sample_is_the_same_every_time(results):
    runs = finished_runs(results[0], ["wmt20_mlqe"], ["dpo", "zopro"], None)
    assert sample(runs, None) == runs and len(sample(runs, 1)) == 1
    assert sample(runs, 1) == sample(list(reversed(runs)), 1)


def test_a_budget_of_seconds_cannot_be_repeated(results, make_run, tmp_path):
    with pytest.raises(ConfigError, match="budget of seconds"):
        verify(tmp_path, [(make_run("dpo", "budget.kind=seconds"), None)], results[1], None, 0.0, print)


def test_runs_of_another_protocol_are_refused_with_the_commit_that_can_repeat_them(results, tmp_path):
    run, store = finished_runs(results[0], ["wmt20_mlqe"], ["dpo"], None)[0]
    commit = json.loads((store.folder / "environment.json").read_text())["commit"]
    with pytest.raises(ConfigError, match=rf"protocol 1\.1.*Check out the commit that made it \({commit[:10]}\)"):
        verify(tmp_path, [(replace(run, protocol="1.1"), store)], results[1], None, 0.0, print)


@pytest.mark.parametrize("name", ["summary.json", "curve.jsonl", "samples.jsonl", "config.json", "environment.json"])
@pytest.mark.parametrize("how", ["altered", "truncated", "removed"])
def test_an_altered_file_of_a_finished_run_is_named_by_all_who_read_it(name, how, folder, capsys):
    path = store_of(folder, "dpo").folder / name
    text = path.read_text()
    if how == "removed":
        path.unlink()
        if name == "summary.json":  # then the run is not finished
            return
    else:
        path.write_text(text.replace("1", "2", 1) if how == "altered" else text[:-5])
    assert main(["report", str(folder)]) == 2
    assert name in capsys.readouterr().err
    with pytest.raises(BenchmarkError, match=name.replace(".", r"\.")):
        RunStore(path.parent).summary()


def test_a_field_that_came_later_is_no_difference_and_any_other_is():
    old, new = [{"update": 1, "spent": {"updates": 1}}], [{"update": 1, "spent": {"updates": 1, "generated_tokens": 9}}]
    assert compare_rows("curve.jsonl", old, new) == (0.0, None)
    assert compare_rows("curve.jsonl", new, [{"update": 1, "spent": {"updates": 1, "generated_tokens": 8}}])[1]
    assert compare_rows("curve.jsonl", old, [{"update": 1, "spent": {"updates": 1, "other": 9}}])[1]

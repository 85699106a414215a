"""A search's runs, what is read from their directories, and the command from end to end."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from baselines.registry import get_method
from benchmark.cli import main
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.grid.jobs import Preparation
from benchmark.plan.resolve import Config, load_profile, with_assignments, with_tasks
from benchmark.plan.sources import TaskSource
from benchmark.studies.tuning.execution import TrialJob, jobs
from benchmark.studies.tuning.search import Cell, Search, over_seeds, standing_of

TASKS = ["wmt20_mlqe", "hh_rlhf"]
SOURCES = {task: TaskSource(task, SimpleNamespace(version="1", revision="abc")) for task in TASKS}
QUICK = ["tune", "--profile", "smoke", "--task", "wmt20_mlqe", "--device", "cpu", "--workers", "0", "--budget",
         "updates=2", "--set", "sft.steps=4", "--set", "reward_model.steps=4", "--set", "train_rows=150", "--set",
         "heldout_rows=40", "--set", "validation_prompts=6", "--set", "test_prompts=4", "--set", "max_new_tokens=6"]


@pytest.fixture
def search():
    return Search(Config(), SOURCES, ["rloo", "mezo"], [100, 101], 3)


def finish(folder: Path, start: float, end: float | None, test: float = 0.0) -> None:
    """A finished run as far as a search looks at it; without an end it diverged."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "environment.json").write_text(json.dumps({"commit": "abc", "dirty": test > 0}))
    final = None if end is None else {"validation": {"reward": end}, "test": {"reward": test}}
    (folder / "summary.json").write_text(json.dumps({
        "status": "diverged" if end is None else "done", "final": final,
        "initial": {"validation": {"reward": start}, "test": {"reward": -test}}}))


def fail(folder: Path, kind: str) -> None:
    folder.mkdir(parents=True)
    (folder / "error.json").write_text(json.dumps({"type": kind, "message": "why"}))


def test_every_method_gets_every_trial_on_every_task_and_seed_and_all_progress_together(search):
    runs = [(cell.trial, cell.run.task, cell.run.seed, cell.run.method) for cell in search.cells]
    assert Counter((method, trial) for trial, _, _, method in runs) == {
        (m, t): 4 for m in ("rloo", "mezo") for t in range(3)}
    assert [trial for trial, *_ in runs] == [0] * 8 + [1] * 8 + [2] * 8
    assert runs[:4] == [(0, "wmt20_mlqe", 100, "rloo"), (0, "wmt20_mlqe", 100, "mezo"),
                        (0, "wmt20_mlqe", 101, "rloo"), (0, "wmt20_mlqe", 101, "mezo")]
    longer = replace(search, trials=5)
    assert [c.run.name for c in longer.cells][:24] == [c.run.name for c in search.cells]


def test_trials_leave_out_what_the_profile_tuned_or_froze():
    """Trial 0 is the published setting, and a search made anew finds the runs of the one before."""
    config = with_tasks(load_profile("smoke"), {"hh_rlhf": {"evaluation": {"reference_increase": 3.0}}}, "a test")
    assert config.methods["rloo"]["lr"] == 1e-3
    tuned = Search(config, SOURCES, ["rloo"], [100], 2)
    plain = Search(replace(load_profile("smoke"), methods={}), SOURCES, ["rloo"], [100], 2)
    assert tuned.cells[0].run.resolved()["method"] == get_method("rloo").resolved({})
    assert [c.run.name for c in tuned.cells] == [c.run.name for c in plain.cells]
    assert tuned.settings() == plain.settings()


def test_conditions_change_with_what_can_change_a_reward(search):
    def conditions(*assignments):
        return replace(search, config=with_assignments(Config(), list(assignments), [])).settings()["conditions"]

    assert conditions("workers=7") == conditions()
    assert len({conditions(), conditions("loop.iterations=2"), conditions("sft.steps=9")}) == 3
    other = {**SOURCES, "hh_rlhf": TaskSource("hh_rlhf", SimpleNamespace(version="1", revision="xyz"))}
    assert replace(search, sources=other).settings()["conditions"] != conditions()


@pytest.mark.parametrize(("change", "words"), [
    ({"seeds": [100, 4]}, "--seed 4: seeds 0-4 are those of reference results"),
    ({"trials": 0}, "--trials 0: at least 1"),
    ({"config": with_assignments(Config(), ["sequences_per_update=6"], [])}, r"k = 4 does not divide .* = 6"),
])
def test_a_search_that_cannot_be_fair_is_refused(search, change, words):
    with pytest.raises(ConfigError, match=words):
        replace(search, **change)


def test_what_a_run_directory_says(tmp_path):
    finish(tmp_path / "done", -1.5, 0.25)
    finish(tmp_path / "diverged", -1.5, None)
    fail(tmp_path / "failed", "RunError")
    # the machine's or the user's doing, not the method's
    for kind in ("Interrupted", "ProcessDied", "PreparationFailed", "OSError", "BenchmarkError", "ModelError"):
        fail(tmp_path / kind, kind)
        assert standing_of(tmp_path / kind) is None
    (tmp_path / "killed").mkdir()
    names = ("done", "diverged", "failed", "killed", "nothing")
    assert [standing_of(tmp_path / name) for name in names] == [1.75, "diverged", "failed", None, None]
    (tmp_path / "done" / "summary.json").write_text('{"status": "done", "initial": {}, "final": {}}')
    with pytest.raises(BenchmarkError, match="done/summary.json: no validation reward"):
        standing_of(tmp_path / "done")
    assert over_seeds([0.1, 0.4]) == 0.25 and over_seeds([0.1, "diverged", "failed"]) == "failed"
    assert over_seeds(["diverged", 0.4]) == "diverged"


def test_results_are_validation_increases_and_the_test_split_has_no_say(search, tmp_path):
    for test in (0.0, 1e6):
        for i, cell in enumerate(search.cells):
            finish(tmp_path / cell.run.name, 1.0, 1.0 + i, test * (i + 1))
        results = search.results(tmp_path)
        # Cell i raised the reward by i. RLOO's trial 1 has cells 8 and 10 on WMT20, 12 and 14 on HH-RLHF.
        assert [(r.method, r.trial) for r in results] == [(m, t) for m in ("rloo", "mezo") for t in range(3)]
        assert results[1].reached == {"wmt20_mlqe": 9.0, "hh_rlhf": 13.0}
        assert results[1].values == get_method("rloo").resolved({"rloo": search.values["rloo"][1]})
    assert search.commits(tmp_path) == ["abc+changes"]


def test_unequal_trials_are_refused_until_every_run_is_finished(search, tmp_path):
    for cell in search.cells[2:]:
        finish(tmp_path / cell.run.name, 0.0, 1.0)
    fail(tmp_path / search.cells[0].run.name, "ProcessDied")
    with pytest.raises(ConfigError) as refusal:
        search.results(tmp_path)
    for words in ("2 of 24 runs are not finished", "nothing is chosen", "Repeat the same command",
                  f"{search.cells[0].run.name}: ProcessDied: why", f"{search.cells[1].run.name}: not run yet"):
        assert words in str(refusal.value)


def test_jobs_are_what_is_left_with_its_preparations_and_each_run_once(search, tmp_path):
    finish(tmp_path / search.cells[0].run.name, 0.0, 1.0)
    fail(tmp_path / search.cells[1].run.name, "RunError")
    fail(tmp_path / search.cells[2].run.name, "Interrupted")
    twice = [*search.cells, Cell(9, search.cells[5].run)]  # two trials that resolve to the same run
    todo = jobs(twice, tmp_path, tmp_path / "cache")
    assert sorted((job.task, job.seed) for job in todo[:4] if isinstance(job, Preparation)) == [
        ("hh_rlhf", 100), ("hh_rlhf", 101), ("wmt20_mlqe", 100), ("wmt20_mlqe", 101)]
    runs = todo[4:]
    assert all(isinstance(job, TrialJob) for job in runs)
    assert [job.run for job in runs] == [cell.run for cell in search.cells[2:]]
    assert len({job.name for job in todo}) == len(todo) and runs[0].name == "wmt20_mlqe rloo trial 0 s101"


@pytest.mark.parametrize(("arguments", "words"), [
    (["--method", "rloo"], []),
    ([], ["tune: say what to search", "--all"]),
    (["--method", "zopro-rndom"], ["unknown method", "zopro-random"]),
    (["--all", "--set", "zopro.lr=1"], ["--set zopro.lr=1", "configuration fields only"]),
    (["--all", "--outcome", "found.csv"], ["--outcome found.csv", ".toml"]),
    (["--all", "--seed", "100,2"], ["seeds 0-4"]),
])
def test_a_wrong_request_is_answered_and_a_dry_run_writes_nothing(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extra = ["--profile", "smoke", "--task", "hh_rlhf", "--device", "cpu", "--dry-run"] if arguments else []
    outcome = [] if "--outcome" in arguments else ["--outcome", "found.toml"]
    assert main(["tune", *arguments, *outcome, *extra]) == (2 if words else 0)
    answer = capsys.readouterr()
    assert all(word in answer.err for word in words), answer.err
    if not words:
        assert "rloo trial 7: lr = " in answer.out and answer.out.count("hh_rlhf__rloo__s100__") == 8
    assert list(tmp_path.iterdir()) == []


def test_a_search_runs_is_resumed_and_ignores_test_figures(tmp_path, capsys):
    """From the command to the files, then again after one run was lost and all test figures were changed."""
    out, outcome = tmp_path / "out", tmp_path / "found.toml"
    folders = ["--out", str(out), "--outcome", str(outcome), "--cache", str(tmp_path / "cache")]
    command = [*QUICK, "--method", "rloo,dpo", "--trials", "2", *folders]
    assert main(command) == 0
    output = capsys.readouterr().out
    assert "validation reward" in output and "test reward" not in output and str(outcome) in output
    runs = sorted(path for path in (out / "runs").iterdir())
    assert Counter(path.name.split("__")[1] for path in runs) == {"rloo": 2, "dpo": 2}
    report = {path.name for path in (out / "report").iterdir()}
    assert {"table_published_vs_tuned.md", "trial_scores.png"} <= report
    first = outcome.read_bytes(), (tmp_path / "found_trials.csv").read_bytes()

    for path in runs:
        summary = json.loads((path / "summary.json").read_text())
        del summary["digest"]  # or the change would be noticed
        for when in ("initial", "final"):
            summary[when]["test"] = {name: 1e3 + len(path.name) for name in summary[when]["test"]}
        summary["reward_increase"] = 1e6
        (path / "summary.json").write_text(json.dumps(summary))
    shutil.rmtree(runs[0])
    stamps = [(path / "summary.json").stat().st_mtime_ns for path in runs[1:]]
    assert main(command) == 0
    assert "3 of 4 runs are finished already" in capsys.readouterr().out
    assert stamps == [(path / "summary.json").stat().st_mtime_ns for path in runs[1:]]
    assert first == (outcome.read_bytes(), (tmp_path / "found_trials.csv").read_bytes())

    assert main([*QUICK, "--method", "rloo", "--trials", "3", *folders]) == 2
    assert "found.toml holds trials of dpo that cannot stand beside these: trials differ" in capsys.readouterr().err
    assert len(list((out / "runs").iterdir())) == 4  # nothing was run

"""The command from end to end, and what it answers to wrong requests."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest

from benchmark.cli import main

QUICK = ["tune", "--profile", "smoke", "--task", "wmt20_mlqe", "--device", "cpu", "--workers", "0", "--budget",
         "updates=2", "--set", "sft.steps=4", "--set", "reward_model.steps=4", "--set", "train_rows=150", "--set",
         "heldout_rows=40", "--set", "validation_prompts=6", "--set", "test_prompts=4", "--set", "max_new_tokens=6"]


@pytest.mark.parametrize(("arguments", "words"), [
    (["--method", "rloo,mezo-warm"], []),
    ([], ["tune: say what to search", "--all"]),
    (["--method", "zopro-rndom"], ["unknown method", "zopro-random"]),
    (["--method", "zopro-published"], ["nothing to search"]),
    (["--method", "zo-full"], ["no method is left for adapter.kind=lora", "adapter.kind=full"]),
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
        for line in ("mezo-warm has no search of its own: it takes the settings of mezo, and zopro's warm start",
                     "rloo trial 15: lr = ", "rloo: 16 runs of 4,000 forward tokens, 12 final runs of 12,000\n",
                     # two iterations: a warm start is half a budget
                     "zopro warm start: 16 runs of 2,000 forward tokens, 12 final runs of 6,000, shared by all that",
                     "1 warm starts and 2 methods, 520,000 forward tokens in all"):
            assert line in answer.out, answer.out
        assert "zopro trial" not in answer.out
    assert list(tmp_path.iterdir()) == []


def test_a_group_leaves_out_what_cannot_train_the_adapter(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["tune", "--profile", "smoke", "--task", "hh_rlhf", "--device", "cpu", "--dry-run", "--method", "zo",
               "--outcome", "found.toml"]
    assert main(command) == 0
    assert "mezo-muon trial 15" in capsys.readouterr().out
    assert main([*command, "--set", "adapter.kind=norms"]) == 0
    answer = capsys.readouterr().out
    assert "left out for adapter.kind=norms: mezo-muon trains adapter.kind=lora or full; essa" in answer
    assert "mezo-reward trial 15" in answer and "mezo-muon trial" not in answer


def test_a_search_runs_is_resumed_and_ignores_test_figures(tmp_path, capsys):
    """From the command to the files, then again after one run was lost and all test figures were changed."""
    out, outcome = tmp_path / "out", tmp_path / "found.toml"
    folders = ["--out", str(out), "--outcome", str(outcome), "--cache", str(tmp_path / "cache")]
    command = [*QUICK, "--method", "dpo", "--trials", "2", "--finalists", "1", "--final-seeds", "101", *folders]
    assert main(command) == 0
    output = capsys.readouterr().out
    assert "validation reward" in output and "test reward" not in output and str(outcome) in output
    runs = sorted(path for path in (out / "runs").iterdir())
    seeds = Counter(path.name.split("__")[2] for path in runs)
    assert seeds["s101"] == 1 and seeds["s100"] >= 2
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
    assert stamps == [(path / "summary.json").stat().st_mtime_ns for path in runs[1:]]
    assert first == (outcome.read_bytes(), (tmp_path / "found_trials.csv").read_bytes())

    assert main([*QUICK, "--method", "rloo", "--trials", "3", *folders]) == 2
    assert "found.toml holds trials of dpo that cannot stand beside these: trials differ" in capsys.readouterr().err
    assert len(list((out / "runs").iterdir())) == len(runs)  # nothing was run

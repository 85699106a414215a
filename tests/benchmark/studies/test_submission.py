"""What a result set must have to stand beside the committed ones: each point is seen if it is missing, only then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.core.errors import BenchmarkError
from benchmark.core.files import write_json
from benchmark.plan.resolve import load_profile, with_assignments
from benchmark.plan.run import Run
from benchmark.studies.submission import REPEATED, check
from benchmark.studies.verify import DIFFERENT, IDENTICAL
from tests.benchmark.reporting.golden import make

TASK, METHODS, SEEDS = "hh_rlhf", ("rloo", "mezo"), range(5)


@pytest.fixture
def submitted(tmp_path, monkeypatch):
    """``submitted(assignments, profile=…, seeds=…)`` → a folder of made-up runs of that configuration."""
    monkeypatch.setitem(make.STARTS, TASK, dict.fromkeys(SEEDS, 0.0))
    monkeypatch.setattr(make, "FAILED", ())
    monkeypatch.setattr(make, "UNFINISHED", ())

    def write(*assignments, profile="tiny", seeds=SEEDS) -> Path:
        config = with_assignments(load_profile(profile), list(assignments), list(METHODS))
        names = []
        for method in METHODS:
            for seed in seeds:
                run = Run(TASK, method, seed, config.for_task(TASK), {"task_version": "1.0", "revision": "x"})
                made = make.write_run(tmp_path, TASK, method, seed).rename(tmp_path / run.name)
                write_json(made / "config.json", {"run": run.identity(), "config": run.resolved()})
                names.append(run.name)
        write_json(tmp_path / "verify.json",
                   {"runs": [{"run": name, "verdict": IDENTICAL} for name in names[:REPEATED]]})
        return tmp_path

    return write


def change(folder, pattern, file, **values):
    """Fields of a file of the first run that matches."""
    path = sorted(folder.glob(pattern))[0] / file
    stored = json.loads(path.read_text())
    for name, value in values.items():
        (stored["run"] if name in stored.get("run", {}) else stored)[name] = value
    write_json(path, stored)


def missing(folder):
    return [line for point in check(folder) for line in point.missing]


def test_nothing_is_missing(submitted, capsys):
    folder = submitted("keep=curves", "workers=1", "data.max_rejected=0.1")
    assert missing(folder) == []
    assert main(["check-submission", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.endswith(f"{folder}: nothing is missing\n") and said.count("yes  ") == len(check(folder))


@pytest.mark.parametrize(("assignments", "options", "words"), [
    (["loop.iterations=7"], {}, "hh_rlhf: loop.iterations = 7, where profile tiny has 4: leave out that --set"),
    (["mezo.lr=0.123"], {}, "hh_rlhf, mezo: lr = 0.123, not"),
    ([], {"seeds": range(3)}, "hh_rlhf, rloo: 3 seeds: --seeds 0-4"),
    (["budget.kind=seconds"], {}, "a budget of seconds, which no repetition shares"),
])
def test_settings_that_are_not_ours(assignments, options, words, submitted):
    assert any(words in line for line in missing(submitted(*assignments, **options)))


def test_a_profile_of_ones_own(submitted):
    folder = submitted()
    for run in folder.glob("*__s*"):
        change(folder, run.name, "config.json", profile="mine")
    assert "profile mine is none of ours" in " ".join(missing(folder))


def test_hyperparameters_of_a_search_that_lies_in_the_folder(submitted):
    folder = submitted("mezo.lr=0.000123")
    (folder / "found.toml").write_text("[methods.mezo]\nlr = 0.000123\n")
    assert len(missing(folder)) == 1  # without its trials it is only a claim
    (folder / "found_trials.csv").write_text("method,trial\n")
    assert missing(folder) == []


@pytest.mark.parametrize(("file", "values", "words"), [
    ("config.json", {"protocol": "0.9"}, "of protocol 0.9"),
    ("environment.json", {"commit": None}, "of no commit"),
    ("environment.json", {"dirty": True}, "with changes that are not committed"),
    ("config.json", {"plugins": {"idea": "a file, 0123"}}, "the plugin idea is a file"),
    ("config.json", {"method": "unheard"}, "unheard is not known here"),
])
def test_runs_that_are_not_as_they_should_be(file, values, words, submitted, monkeypatch):
    folder = submitted()
    if "protocol" in values or "method" in values:  # of all runs of a method, or they would not be read
        for run in folder.glob("*__s*" if "protocol" in values else "*__mezo__s*"):
            change(folder, run.name, file, **values)
    elif "plugins" in values:
        path = sorted(folder.glob("*__rloo__*"))[0] / file
        stored = json.loads(path.read_text())
        stored["run"] |= values
        write_json(path, stored)
    else:
        change(folder, "*__rloo__*", file, **values)
    assert any(words in line for line in missing(folder))


def test_unfinished_and_missing_runs(submitted):
    folder = submitted()
    (sorted(folder.glob("*__mezo__s4__*"))[0] / "summary.json").unlink()
    found = missing(folder)
    assert "hh_rlhf / mezo: seed 4: no finished run" in found
    assert any("no seed 4, which others have" in line for line in found)


@pytest.mark.parametrize(("verdicts", "words"), [
    (None, "no verify.json"), ([IDENTICAL], "1 of these runs in verify.json"),
    ([IDENTICAL, IDENTICAL, DIFFERENT], ": different")])
def test_what_verify_said(verdicts, words, submitted):
    folder = submitted()
    names = sorted(path.name for path in folder.glob("*__s*"))
    (folder / "verify.json").unlink()
    if verdicts:
        write_json(folder / "verify.json", {"runs": [{"run": name, "verdict": verdict} for name, verdict in
                                                     zip(names, verdicts, strict=False)]})
    assert [words in line for line in missing(folder)] == [True]


def test_what_no_report_would_read_is_no_submission_either(submitted, capsys):
    folder = submitted()
    change(folder, "*__rloo__*", "summary.json", digest="0")
    with pytest.raises(BenchmarkError, match="altered after the run"):
        check(folder)
    (folder / "verify.json").write_text("{}")
    assert main(["check-submission", str(folder)]) == 2
    assert "altered" in capsys.readouterr().err

"""What a person sees while a grid runs."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmark.grid.display import Display, duration
from benchmark.grid.jobs import Preparation, RunJob
from benchmark.grid.work import work


def display(terminal, jobs, width=140, **options):
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=width, color_system=None)
    return Display(jobs, "100 updates", console, **options), output


def jobs(toy_config, make_run):
    return Preparation("wmt20_mlqe", 0, Path("x"), toy_config), RunJob(make_run("rloo"), Path("x"), Path("y"))


def test_a_line_per_event_where_there_is_no_terminal(toy_config, make_run):
    prepare, run = jobs(toy_config, make_run)
    shown, output = display(False, [prepare, run])
    with shown:
        shown.started(prepare)
        shown.ended(prepare, {"status": "done", "accuracy": 0.875})
        shown.started(run)
        shown.progress(run, {"share": 0.5, "reward": 1.0, "stage": "i1"})
        shown.ended(run, {"status": "failed", "message": "why [bold]not[/bold]"})
    text = output.getvalue()
    assert "start  wmt20_mlqe rloo s0" in text
    assert "[1/2] prepare wmt20_mlqe s0  ready, reward-model accuracy 0.88" in text
    assert "[2/2] wmt20_mlqe rloo s0  FAILED: why [bold]not[/bold]" in text  # data is text, not markup


def test_outcomes_are_told_apart(toy_config, make_run):
    run = jobs(toy_config, make_run)[1]
    shown, output = display(False, [run, run])
    shown.started(run)
    shown.ended(run, {"status": "done", "initial": {"test": {"reward": 0.5}}, "final": {"test": {"reward": 1.25}},
                      "warnings": ["below noise: in 3 of 4"]})
    shown.ended(run, {"status": "diverged", "warnings": ["diverged: the loss is nan"]})
    text = output.getvalue()
    assert "test reward +0.500 → +1.250; below noise: in 3 of 4" in text and "the loss is nan" in text


def test_the_live_table_shows_budget_reward_and_time_left_in_80_columns(toy_config, make_run):
    prepare, run = jobs(toy_config, make_run)
    long = replace(prepare, task="summarize_from_feedback")
    shown, _ = display(True, [long, run] * 500)
    shown.budget, shown.start = "0.123456M forward tokens each", time.monotonic() - 100 * 3600
    for job, share in ((long, 0.0), (run, 0.5)):
        shown.started(job)
        shown.progress(job, {"share": share, "reward": 1.25, "stage": "evaluation of the start"})
    shown.states[run.name]["since"] -= 90 * 3600
    console = Console(file=io.StringIO(), width=80)
    console.print(shown._table())
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert re.fullmatch(r"0 of 1000 jobs · 0.123456M forward tokens each · 100:00:0\d gone, \d+:\d+:\d+ left",
                        lines[0])
    assert lines[1].split() == ["job", "stage", "spent", "reward"]
    text = "\n".join(lines)
    assert "wmt20_mlqe rloo s0" in text and "50%" in text and "+1.250" in text and text.count("█") == 5


def test_a_log_has_a_line_for_every_stage_and_for_every_quiet_minute(toy_config, make_run):
    prepare, run = jobs(toy_config, make_run)
    shown, output = display(False, [prepare, run], quiet=0.2)
    with shown:
        shown.started(prepare)
        for share in (0.0, 0.5, 0.75):
            shown.progress(prepare, {"stage": "SFT", "share": share})
        assert output.getvalue().count("stage") == 1
        end = time.monotonic() + 20
        while output.getvalue().count("works  prepare wmt20_mlqe s0  SFT, 75%") < 2 and time.monotonic() < end:
            time.sleep(0.05)
        shown.progress(prepare, {"stage": "reward model", "share": 0.0})
        shown.ended(prepare, {"status": "done", "accuracy": 0.5})
        shown.started(run)
        shown.progress(run, {"share": 0.25, "reward": 1.0, "stage": "i2"})
    lines = output.getvalue().splitlines()
    assert sum("works" in line for line in lines) >= 2
    assert sum("stage  prepare wmt20_mlqe s0" in line for line in lines) == 2
    assert re.search(r"stage  wmt20_mlqe rloo s0  i2, 25%, reward \+1.000  \(\d+:\d\d left\)", lines[-1])


def test_time_left_is_that_of_the_work_left(toy_config, make_run, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("benchmark.grid.display.time.monotonic", lambda: now[0])
    prepare, run = jobs(toy_config, make_run)
    runs = [replace(run, run=replace(run.run, seed=seed)) for seed in range(4)]
    shown, _ = display(True, [prepare, *runs], workers=2)
    assert shown._left() == "?"
    ours, theirs = work(prepare), work(run)
    shown.started(prepare)
    shown.progress(prepare, {"stage": "SFT", "share": 0.5})
    now[0] = 10.0  # half of the preparation; nothing is known of runs, so that their pace is the preparation's
    assert shown._left() == duration((10 + 4 * theirs * 20 / ours) / 2)
    shown.ended(prepare, {"status": "done", "accuracy": 0.5})
    shown.started(runs[0])
    now[0] = 110.0
    shown.ended(runs[0], {"status": "failed", "message": "early"})
    shown.started(runs[1])
    now[0] = 210.0
    shown.progress(runs[1], {"stage": "i1", "share": 0.25, "reward": 0.0})
    assert shown._left() == duration((300 + 2 * 400) / 2)  # a failure says nothing of the pace
    assert work(replace(run, run=make_run("rloo", "budget.kind=seconds", "budget.limit=9"))) > 9


def test_durations():
    assert [duration(s) for s in (0, 59.6, 75, 3675)] == ["0:00", "1:00", "1:15", "1:01:15"]

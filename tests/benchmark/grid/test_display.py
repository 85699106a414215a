"""What a person sees while a grid runs."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from benchmark.grid.display import Display, duration
from benchmark.grid.jobs import Preparation, RunJob


def display(terminal):
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=140, color_system=None)
    return Display(2, "100 updates", console), output


def jobs(toy_config, make_run):
    return Preparation("wmt20_mlqe", 0, Path("x"), toy_config), RunJob(make_run("rloo"), Path("x"), Path("y"))


def test_a_line_per_event_where_there_is_no_terminal(toy_config, make_run):
    shown, output = display(False)
    prepare, run = jobs(toy_config, make_run)
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
    shown, output = display(False)
    run = jobs(toy_config, make_run)[1]
    shown.started(run)
    shown.ended(run, {"status": "done", "initial": {"test": {"reward": 0.5}}, "final": {"test": {"reward": 1.25}},
                      "warnings": ["below noise: in 3 of 4"]})
    shown.ended(run, {"status": "diverged", "warnings": ["diverged: the loss is nan"]})
    text = output.getvalue()
    assert "test reward +0.500 → +1.250; below noise: in 3 of 4" in text and "the loss is nan" in text


def test_the_live_table_shows_budget_reward_and_time_left(toy_config, make_run):
    shown, _ = display(True)
    run = jobs(toy_config, make_run)[1]
    shown.started(run)
    shown.progress(run, {"share": 0.5, "reward": 1.25, "stage": "i1"})
    console = Console(file=io.StringIO(), width=140)
    console.print(shown._table())
    text = console.file.getvalue()
    assert "0 of 2 jobs ended" in text and "100 updates" in text and "left" in text
    assert "wmt20_mlqe rloo s0" in text and "50%" in text and "+1.250" in text and text.count("█") == 10


def test_durations():
    assert [duration(s) for s in (0, 59.6, 75, 3675)] == ["0:00", "1:00", "1:15", "1:01:15"]

"""The table of tasks: complete, lazy, helpful."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmark.core.errors import ConfigError
from tasks import TASKS, WORLDS, get_task
from tests.tasks.helpers import NAMES


def test_every_task_resolves_and_states_what_the_harness_reads():
    assert set(WORLDS) == set(NAMES) and set(TASKS) == {*NAMES, "preferences"}
    for name in TASKS:
        task = get_task(name)
        assert task.name == name
        assert task.title and task.version and task.cue and task.prompt_role and task.completion_role
        assert task.truncation in ("keep_start", "keep_end")
        assert set(task.metrics) <= {"rougeL", "chrf", "bleu"}


def test_an_unknown_task_gets_near_matches():
    with pytest.raises(ConfigError, match="Did you mean hh_rlhf"):
        get_task("hh_rhlf")


def test_loading_bundled_rows_imports_nothing_heavy():
    code = (
        "import sys; from tasks import WORLDS, get_task\n"
        "for name in WORLDS: get_task(name).load('bundled', rows={'train': 20, 'held_out': 40})\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"

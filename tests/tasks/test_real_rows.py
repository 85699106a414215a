"""Adapters on real rows, in the folder named by ``BENCHMARK_REAL_DATA``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks import get_task
from tasks.adapter import BEYOND_LIMIT, RowLimits, prompt_key
from tests.tasks.helpers import NAMES

FOLDER = os.environ.get("BENCHMARK_REAL_DATA")
pytestmark = pytest.mark.skipif(
    not FOLDER, reason="set BENCHMARK_REAL_DATA to a folder with the published files to test on real rows"
)


@pytest.fixture(scope="module", params=NAMES)
def data(request):
    return get_task(request.param).load("local", folder=FOLDER)


def test_almost_every_row_is_used(data):
    assert data.source == "local" and data.gold is None
    assert data.rows.used >= 0.98 * data.rows.read
    for split in ("train", "validation", "test"):
        assert data.prompts[split] and data.preferences[split]


def test_splits_share_no_prompt(data):
    keys = [{prompt_key(prompt.text) for prompt in prompts} for prompts in data.prompts.values()]
    assert sum(map(len, keys)) == len(set().union(*keys))


def test_no_text_holds_a_cue_or_a_path(data):
    task = get_task(data.task)
    for pair in data.preferences["train"]:
        assert not pair.prompt.endswith(task.cue.strip())
        if data.task == "hh_rlhf":
            assert "\n\nHuman:" not in pair.chosen + pair.rejected
            assert pair.prompt.startswith("Human:")
    assert FOLDER not in repr(data.rows) + data.revision


def test_a_limit_keeps_a_stable_part(data):
    task = get_task(data.task)
    some = task.load("local", folder=FOLDER, seed=1, rows=RowLimits(train=60, held_out=60))
    more = task.load("local", folder=FOLDER, seed=1, rows=RowLimits(train=90, held_out=60))
    assert some.rows.rejected[BEYOND_LIMIT] == data.rows.read - 120
    assert some.revision == data.revision
    assert {prompt.text for prompt in some.prompts["train"]} <= {prompt.text for prompt in more.prompts["train"]}
    assert some.preferences == task.load("local", folder=FOLDER, seed=1, rows=RowLimits(60, 60)).preferences


def test_the_data_set_folder_itself_works_too(data):
    below = {
        "summarize_from_feedback": "summarize_from_feedback",
        "wmt20_mlqe": "wmt20_mlqe_task1",
        "hh_rlhf": "hh-rlhf",
    }
    direct = get_task(data.task).load("local", folder=Path(FOLDER) / below[data.task])
    assert direct.revision == data.revision

"""Adapters on bundled rows: contract, determinism, disjoint splits, quality of the preferences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from statistics import mean

import pytest

from benchmark.core.errors import ConfigError
from tasks import get_task
from tasks.adapter import BEYOND_LIMIT, RowLimits, prompt_key
from tasks.examples import PreferenceExample
from tests.tasks.helpers import NAMES

ROWS = RowLimits(train=600, held_out=200)


@pytest.fixture(scope="module", params=NAMES)
def data(request):
    return get_task(request.param).load("bundled", seed=3, rows=ROWS)


def test_rows_add_up_and_every_split_is_filled(data):
    assert data.rows.read == data.rows.used + sum(data.rows.rejected.values()) == 800
    assert BEYOND_LIMIT not in data.rows.rejected
    for split in ("train", "validation", "test"):
        assert len(data.prompts[split]) >= 20 and len(data.preferences[split]) >= 20
    assert len(data.demonstrations) >= 250


def test_prompts_are_unique_and_splits_are_disjoint(data):
    keys = {name: [prompt_key(prompt.text) for prompt in prompts] for name, prompts in data.prompts.items()}
    for prompts in keys.values():
        assert len(prompts) == len(set(prompts))
    assert not set(keys["train"]) & (set(keys["validation"]) | set(keys["test"]))
    assert not set(keys["validation"]) & set(keys["test"])
    for split, pairs in data.preferences.items():
        assert {prompt_key(pair.prompt) for pair in pairs} <= set(keys[split])


def test_texts_are_clean_and_fit_a_tiny_model(data):
    for pair in data.preferences["train"]:
        for text in (pair.prompt, pair.chosen, pair.rejected):
            assert text == text.strip() and text
        assert pair.chosen != pair.rejected
        assert len(pair.prompt.split()) <= 32
        assert max(len(pair.chosen.split()), len(pair.rejected.split())) <= 20


def test_preferences_follow_gold_with_little_noise_and_leave_room_to_improve(data):
    golds = [
        (data.gold(pair.prompt, pair.chosen), data.gold(pair.prompt, pair.rejected))
        for pair in data.preferences["train"]
    ]
    wrong = mean(better < worse for better, worse in golds)
    assert wrong <= 0.07
    assert 0.55 <= mean(better for better, _ in golds) <= 0.8
    assert mean(worse for _, worse in golds) <= 0.45
    assert 0.55 <= mean(data.gold(*pair) for pair in data.demonstrations) <= 0.8


def test_same_seed_same_rows_other_seed_other_rows(data):
    again = get_task(data.task).load("bundled", seed=3, rows={"train": 600, "held_out": 200})
    assert again.preferences == data.preferences and again.revision == data.revision
    other = get_task(data.task).load("bundled", seed=4, rows=ROWS)
    assert other.revision != data.revision and other.preferences != data.preferences


def test_a_larger_number_of_rows_adds_to_the_same_rows(data):
    few = get_task(data.task).load("bundled", seed=3, rows=RowLimits(train=100, held_out=200))
    assert few.rows.read == 300
    # The last source of the MLQE rows may have fewer translations.
    assert {prompt.text for prompt in few.prompts["train"]} <= {prompt.text for prompt in data.prompts["train"]}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_in_every_process(name):
    code = (
        "import json, sys; from tasks import get_task; from tasks.sources import digest\n"
        f"data = get_task({name!r}).load('bundled', seed=7, rows={{'train': 120, 'held_out': 60}})\n"
        "print(json.dumps([data.revision, digest([repr(data.preferences), repr(data.prompts)])]))"
    )
    found = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        found.append(json.loads(out.stdout))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", NAMES)
def test_generated_rows_do_not_repeat_prompts(name):
    data = get_task(name).load("bundled", rows=RowLimits(train=3000, held_out=50))
    expected = 3000 if name != "wmt20_mlqe" else 1200
    assert len(data.prompts["train"]) >= expected
    assert data.rows.rejected.get("held-out prompt also in training", 0) <= 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "bundle"}, "Did you mean bundled"),
        ({"source": "local"}, "--data FOLDER"),
        ({"source": "bundled", "pairing": "relased"}, "pairing"),
        ({"source": "bundled", "max_rejected": 2}, "from 0 to 1"),
        ({"source": "bundled", "rows": {"train": 0}}, "rows.train = 0"),
        ({"source": "bundled", "rows": {"trian": 5}}, "Did you mean train"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, message):
    with pytest.raises(ConfigError, match=message):
        get_task("wmt20_mlqe").load(arguments.pop("source"), **arguments)


def test_released_pairing_takes_the_source_copy_as_rejected_and_every_row_as_demonstration():
    data = get_task("wmt20_mlqe").load("bundled", rows={"train": 100, "held_out": 60}, pairing="released")
    assert all(pair.rejected == pair.prompt.removeprefix("English: ") for pair in data.preferences["train"])
    skipped = sum(example.completion == example.prompt.removeprefix("English: ") for example in data.scored["train"])
    assert len(data.preferences["train"]) == 100 - skipped
    assert len(data.demonstrations) == 100


def test_default_pairing_has_score_pairs_and_degraded_pairs_but_no_worse_chosen():
    data = get_task("wmt20_mlqe").load("bundled", rows={"train": 300, "held_out": 60})
    assert data.rows.notes["pairs from scores"] > 50
    assert data.rows.notes["pairs from degraded translations"] > 50
    scores = {(example.prompt, example.completion): example.score for example in data.scored["train"]}
    for pair in data.preferences["train"]:
        better, worse = (scores.get((pair.prompt, text)) for text in (pair.chosen, pair.rejected))
        assert better is not None
        if worse is not None:
            assert better > worse
    assert all(scores[demonstration] >= 0 for demonstration in data.demonstrations)


def test_what_completions_are_compared_with_is_right(data):
    for split in ("validation", "test"):
        assert {data.gold(prompt.text, prompt.reference) for prompt in data.prompts[split]} == {1.0}
    assert any(data.gold(*demonstration) < 0.5 for demonstration in data.demonstrations)  # annotators are careless


def test_elsewhere_they_are_what_was_chosen_most_often():
    pairs = [PreferenceExample("p", *texts) for texts in (("a", "b"), ("b", "a"), ("b", "c"), ("a", "c"), ("b", "d"))]
    built = get_task("hh_rlhf").build(pairs, "test", 0, "default", Counter())
    assert built.references == {"p": "b"}

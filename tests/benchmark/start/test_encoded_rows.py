"""Pairs whose completions are the same tokens once they are cut: left out wherever pairs are learned from or counted
right, and said; an error where none is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark.core.errors import DataError
from benchmark.lm.encoder import Encoder
from benchmark.lm.loading import train_tokenizer
from benchmark.start.encoded_rows import Rows
from tasks.examples import PreferenceExample, Prompt, RowReport, TaskData

BEGINNING = "this is a matter of taste and of time and of much else that one could say about it"
EARLY, LATE = ("yes", "no"), (f"{BEGINNING} so cook it", f"{BEGINNING} so throw it away")
CUT = 8


@pytest.fixture(scope="module")
def encoder(toy_config):
    tokenizer = train_tokenizer([*EARLY, *LATE] * 20, 400)
    return Encoder(tokenizer, " =>", "keep_end", replace(toy_config.decoding, max_new_tokens=CUT))


def data(**pairs):
    """Rows with these (chosen, rejected) in each split."""
    examples = {split: tuple(PreferenceExample(f"prompt {split} {i}", *pair) for i, pair in enumerate(found))
                for split, found in pairs.items()}
    count = sum(map(len, examples.values()))
    return TaskData(
        "own", "1.0", "local", "x", examples, {}, tuple((e.prompt, e.chosen) for e in examples["train"]),
        {split: tuple(Prompt(e.prompt, e.chosen) for e in found) for split, found in examples.items()},
        RowReport(count, count))


def test_equal_pairs_of_every_split_are_left_out_and_counted(encoder, toy_config):
    config = replace(toy_config, decoding=encoder.decoding)
    rows = Rows.of(data(train=[EARLY, LATE, LATE], validation=[LATE, EARLY], test=[EARLY, LATE]), encoder, config)
    assert [pair[1:] for pair in rows.train_pairs] == [EARLY]
    assert [pair[1:] for pair in rows.held_out_pairs] == [EARLY, EARLY]
    assert rows.equal == {"train": 2, "validation": 1, "test": 1}
    assert len(rows.demonstrations) == 3 and len(rows.prompts["test"]) == 2  # they still show what to say
    words = rows.equal_words(config)
    assert "2 of the train split" in words and f"decoding.max_new_tokens = {CUT}" in words


def test_what_differs_within_the_limit_stays(encoder, toy_config):
    longer = Encoder(encoder.tokenizer, " =>", "keep_end", replace(encoder.decoding, max_new_tokens=60))
    rows = Rows.of(data(train=[LATE], validation=[LATE], test=[EARLY]), longer, toy_config)
    assert len(rows.train_pairs) == 1 and rows.equal == {} and rows.equal_words(toy_config) == ""


@pytest.mark.parametrize(("train", "held_out", "words"), [(LATE, EARLY, "to train on"), (EARLY, LATE, "to hold out")])
def test_where_none_is_left_the_limit_is_named(encoder, toy_config, train, held_out, words):
    with pytest.raises(DataError, match=rf"max_new_tokens = {CUT} tokens. None is left {words}. Raise"):
        Rows.of(data(train=[train], validation=[held_out], test=[held_out]), encoder,
                replace(toy_config, decoding=encoder.decoding))

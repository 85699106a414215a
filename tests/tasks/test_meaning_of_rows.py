"""What one published row becomes, task by task."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmark.core.errors import DataError
from tasks import get_task
from tasks.degrade import degrade
from tasks.examples import PreferenceExample, RawRow, RowReport
from tests.tasks.helpers import rows_of, summary_row, translation_row, tsv, write, write_folder


def parse(name, fields):
    return get_task(name).parse(RawRow("f", 1, "train", fields), Counter())


@pytest.mark.parametrize(
    ("info", "prompt"),
    [
        ({"post": " P ", "title": "T", "subreddit": "s"}, "SUBREDDIT: r/s\n\nTITLE: T\n\nPOST: P"),
        ({"post": "P", "title": None, "subreddit": None}, "POST: P"),
        ({"post": "P", "title": "T"}, "TITLE: T\n\nPOST: P"),
        ({"post": None, "article": "News", "title": None}, "POST: News"),
        ({"post": "", "article": "News"}, "POST: News"),
    ],
)
def test_summary_prompt(info, prompt):
    assert parse("summarize_from_feedback", {**summary_row(0), "info": info}).prompt == prompt


@pytest.mark.parametrize(("choice", "chosen"), [(0, "good summary 0"), (1, "bad summary 0")])
def test_choice_names_the_preferred_summary(choice, chosen):
    assert parse("summarize_from_feedback", {**summary_row(0), "choice": choice}).chosen == chosen


H, A = "\n\nHuman:", "\n\nAssistant:"


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        (f"{H} q{A} yes", f"{H} q{A} no", ("Human: q", "yes", "no")),
        (f"{H} q{A} Well, yes", f"{H} q{A} Well, no", ("Human: q", "Well, yes", "Well, no")),
        (f"{H} q{A} a{H} r{A} b", f"{H} q{A} a{H} r{A} c", (f"Human: q{A} a{H} r", "b", "c")),
        # The transcripts part in the first reply and go on: only that reply counts.
        (f"{H} q{A} one{H} r{A} b", f"{H} q{A} two{H} s{A} c", ("Human: q", "one", "two")),
        # One is cut off inside the last turn of the other.
        (f"{H} q{A} yes", f"{H} q{A} yes, of course", ("Human: q", "yes", "yes, of course")),
        (
            f"{H} say Assistant: x{A} yes",
            f"{H} say Assistant: x{A} no",
            ("Human: say Assistant: x", "yes", "no"),
        ),
    ],
)
def test_transcripts_split_at_the_last_common_assistant_turn(chosen, rejected, expected):
    assert parse("hh_rlhf", {"chosen": chosen, "rejected": rejected}) == PreferenceExample(*expected)


def test_translation_prompt_and_score():
    example = parse("wmt20_mlqe", {**translation_row(1), "z_mean": " -1.25 "})
    assert (example.prompt, example.score) == ("English: The train sentence number 1.", -1.25)


def test_dev_and_test20_are_used_as_they_are(tmp_path):
    train, dev = rows_of("wmt20_mlqe")
    write_folder(tmp_path, "wmt20_mlqe", train, dev)
    test = [translation_row(at, "test20") for at in range(9)]
    write(tmp_path / "wmt20_mlqe_task1/en-de/test20.ende.df.short.tsv", tsv(test))
    data = get_task("wmt20_mlqe").load("local", folder=tmp_path)
    assert len(data.prompts["validation"]) == 40
    assert [prompt.text for prompt in data.prompts["test"]] == [f"English: {row['original']}" for row in test]


def test_low_scores_give_no_degraded_pair_and_close_scores_no_score_pair(tmp_path):
    train, dev = rows_of("wmt20_mlqe")
    train[0]["z_mean"] = "-0.5"
    train[1] = {**train[2], "translation": "Nah daran.", "z_mean": "0.1"}
    train[3] = {**train[4], "translation": "Viel schlechter.", "z_mean": "-2"}
    write_folder(tmp_path, "wmt20_mlqe", train, dev)
    pairs = get_task("wmt20_mlqe").load("local", folder=tmp_path).preferences["train"]
    assert not [pair for pair in pairs if pair.prompt == f"English: {train[0]['original']}"]
    same = {train[2]["translation"], "Nah daran."}
    assert not [pair for pair in pairs if {pair.chosen, pair.rejected} == same]
    assert (train[4]["translation"], "Viel schlechter.") in [(pair.chosen, pair.rejected) for pair in pairs]


def test_degraded_translations_differ_and_come_in_every_kind():
    source = "The old dog sees a small cat in the garden."
    good = "Der alte Hund sieht eine kleine Katze im Garten."
    seen = {degrade(good, source, "Das Buch ist neu.", seed) for seed in range(60)}
    assert good not in seen and None not in seen and len(seen) > 30
    assert "Das Buch ist neu." in seen
    assert degrade(good, source, "x", 1) == degrade(good, source, "x", 1)
    assert degrade("Ja", "Yes", "Ja", 0) in (None, "Yes")


def test_a_report_that_does_not_add_up_is_refused():
    with pytest.raises(DataError, match="do not add up"):
        RowReport(10, 8, {"bad": 1})
    assert RowReport(10, 8, {"bad": 2}, {"cut": 1}).lines() == [
        "10 rows read, 8 used",
        "2 left out: bad",
        "1 cut",
    ]

"""Own data: every format and form gives the same examples; what a row lacks is counted, what a file lacks is named."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev
from types import SimpleNamespace

import datasets
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.core.errors import ConfigError, DataError
from benchmark.core.sections import PreferencesSettings
from benchmark.plan.resolve import Config, with_assignments
from benchmark.plan.sources import read_tasks
from tasks import get_task
from tasks.adapter import prompt_key
from tasks.examples import RawRow, RowRejected
from tests.tasks.helpers import json_lines
from tests.tasks.test_any_rows import FEW, VALUES

ROWS = [{"prompt": f"Question {at}?", "chosen": f"Good {at}, “yes”.\nMore", "rejected": f"Bad, \"{at}\"",
         "score_chosen": float(at % 5 + 5), "score_rejected": float(at % 3)} for at in range(60)]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def said(row):
    """The row in the form of UltraFeedback: a prompt, and whole conversations."""
    return {**row, **{name: [user(row["prompt"]), assistant(row[name])] for name in ("chosen", "rejected")}}


FORMS = {
    "strings": lambda row: row,
    "messages": lambda row: {**row, "prompt": [user(row["prompt"])], "chosen": [assistant(row["chosen"])],
                             "rejected": [assistant(row["rejected"])]},
    "text and messages": lambda row: {**said(row), "prompt": row["prompt"], "chosen": [assistant(row["chosen"])],
                                      "rejected": [assistant(row["rejected"])]},
    "ultrafeedback": said,
    "implicit messages": lambda row: {name: value for name, value in said(row).items() if name != "prompt"},
    "implicit text": lambda row: {**{name: f"{row['prompt']}\n\nAssistant: {row[name]}" for name in (
        "chosen", "rejected")}, **{name: row[name] for name in ("score_chosen", "score_rejected")}},
    "empty system": lambda row: {**said(row), "chosen": [{"role": "system", "content": ""}, *said(row)["chosen"]],
                                 "rejected": said(row)["rejected"]},
    "further turns": lambda row: {**said(row), "chosen": [*said(row)["chosen"], user("Thanks"), assistant("Bye")]},
}


def as_csv(rows):
    out = io.StringIO(newline="")
    table = csv.DictWriter(out, list(rows[0]))
    table.writeheader()
    table.writerows({name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()}
                    for row in rows)
    return out.getvalue().encode()


def as_parquet(rows):
    out = io.BytesIO()
    pd.DataFrame(rows).to_parquet(out)
    return out.getvalue()


FORMATS = {
    "jsonl": lambda rows: json_lines(rows).encode(), "json": lambda rows: json.dumps(rows, indent=1).encode(),
    "csv": as_csv, "parquet": as_parquet, "jsonl.gz": lambda rows: gzip.compress(json_lines(rows).encode()),
    "csv.gz": lambda rows: gzip.compress(as_csv(rows)),
    "json.gz": lambda rows: gzip.compress(json.dumps(rows).encode()),
}


def load(place, max_rejected=0.0, **settings):
    task = get_task("preferences")
    task.take(replace(PreferencesSettings(), **settings))
    return task.load("hub" if place is None else "local", folder=place, max_rejected=max_rejected)


def parse(fields, **settings):
    task = get_task("preferences")
    task.take(replace(PreferencesSettings(), **settings))
    return task.parse(RawRow("f", 1, "train", fields), Counter())


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    path = tmp_path_factory.mktemp("usual") / "mine.jsonl"
    path.write_bytes(FORMATS["jsonl"](ROWS))
    return load(path)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("form", FORMS)
def test_every_format_and_form_gives_the_same(form, ending, tmp_path, usual):
    path = tmp_path / f"mine.{ending}"
    path.write_bytes(FORMATS[ending]([FORMS[form](row) for row in ROWS]))
    data = load(path)
    assert (data.preferences, data.scored, data.prompts) == (usual.preferences, usual.scored, usual.prompts)
    assert data.rows.read == data.rows.used == len(ROWS) and data.gold is None
    assert data.rows.notes == ({"replies cut at the next turn": len(ROWS)} if form == "further turns" else {})
    assert load(tmp_path).preferences == data.preferences  # the folder does as well as the file


def test_rows_are_what_they_say(usual):
    pairs = {(p.prompt, p.chosen, p.rejected) for pairs in usual.preferences.values() for p in pairs}
    assert pairs == {(row["prompt"], row["chosen"], row["rejected"]) for row in ROWS}
    train = {row["prompt"]: row for row in ROWS} | {}
    scores = [train[p.prompt][name] for p in usual.preferences["train"] for name in ("score_chosen", "score_rejected")]
    mean, deviation = fmean(scores), pstdev(scores)
    expected = [pytest.approx((score - mean) / deviation) for score in scores]
    assert [example.score for example in usual.scored["train"]] == expected
    assert all(e.score == pytest.approx((train[e.prompt]["score_chosen" if e.completion.startswith("Good") else
                                                         "score_rejected"] - mean) / deviation)
               for e in usual.scored["test"])


def test_a_conversation_of_several_turns_is_written_with_its_roles():
    start = [{"role": "system", "content": "Be kind."}, user("Hi"), assistant("Hello."), user("Who?")]
    row = parse({"chosen": [*start, assistant("Ada")], "rejected": [*start, assistant("You")]})
    assert row.prompt == "System: Be kind.\n\nUser: Hi\n\nAssistant: Hello.\n\nUser: Who?"
    assert (row.chosen, row.rejected) == ("Ada", "You")


@pytest.mark.parametrize(("chosen", "rejected", "expected"), [
    ("The sky is blue.", "The sky is green.", ("The sky is", "blue.", "green.")),
    ("The sky is blue.", "The sky is black.", ("The sky is", "blue.", "black.")),  # not within a word
    ("A\n\nAssistant: The cat", "A\n\nAssistant: The dog", ("A", "The cat", "The dog")),  # not beyond the cue
    ("A\n\nAssistant: B\n\nUser: C\n\nAssistant: D", "A\n\nAssistant: B\n\nUser: C\n\nAssistant: E",
     ("A\n\nAssistant: B\n\nUser: C", "D", "E")),
])
def test_where_an_implicit_prompt_ends(chosen, rejected, expected):
    row = parse({"chosen": chosen, "rejected": rejected})
    assert (row.prompt, row.chosen, row.rejected) == expected


@pytest.mark.parametrize(("fields", "reason"), [
    ({"chosen": "a"}, "rejected is missing"),
    ({"prompt": "", "chosen": "a", "rejected": "b"}, "prompt is empty"),
    ({"prompt": 3, "chosen": "a", "rejected": "b"}, "prompt is not a string"),
    ({"prompt": "p", "chosen": "a", "rejected": "a "}, "chosen and rejected are identical"),
    ({"prompt": "p", "chosen": "a", "rejected": [assistant("b")]}, "chosen and rejected are of two kinds"),
    ({"chosen": "yes", "rejected": "no"}, "there is no prompt"),
    ({"chosen": [assistant("a")], "rejected": [assistant("b")]}, "there is no prompt"),
    ({"chosen": [user("p"), assistant("a")], "rejected": [user("q"), assistant("b")]},
     "chosen and rejected share no message"),
    ({"prompt": "q", "chosen": [user("p"), assistant("a")], "rejected": [user("p"), assistant("b")]},
     "the prompt is not in what chosen and rejected have in common"),
    ({"chosen": [user("p"), user("a")], "rejected": [user("p"), assistant("b")]}, "no reply follows the prompt"),
    ({"chosen": [user("p"), assistant("a")], "rejected": [user("p")]}, "no reply follows the prompt"),
    ({"chosen": [user("p"), "a"], "rejected": [user("p"), assistant("b")]}, "a message is not an object"),
    ({"chosen": [{"role": "user"}], "rejected": [user("p")]}, "chosen.content is missing"),
    ({"prompt": "p", "chosen": [], "rejected": "b"}, "chosen is empty"),
    ({"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen": 1, "score_rejected": 2},
     "chosen has the lower score"),
    ({"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen": "high"}, "a score is not a number"),
    ({"prompt": "p", "chosen": "a", "rejected": "b", "(extra)": ["c"]}, "the row has more cells than the header"),
])
def test_a_row_that_cannot_be_used_says_why(fields, reason):
    with pytest.raises(RowRejected, match=f"^{reason}$"):
        parse(fields)


@FEW
@given(data=st.data())
def test_any_row_is_used_or_rejected(data):
    names = st.sampled_from(["prompt", "chosen", "rejected", "score_chosen", "score_rejected", "role", "content"])
    messages = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", ""]),
                                               "content": st.sampled_from(["a", "b", "", " "])}), max_size=4)
    fields = data.draw(st.dictionaries(names, VALUES | messages | st.sampled_from(["a b", "a c", "1", "2"])))
    try:
        row = parse(fields)
    except RowRejected as error:
        assert error.reason and error.field and error.remedy
    else:
        assert row.prompt and row.chosen != row.rejected and all(
            text == text.strip() and text for text in (row.prompt, row.chosen, row.rejected))
        assert all(score is None or math.isfinite(score) for score in row.scores)


def test_bad_rows_are_counted_and_too_many_named(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(as_csv(ROWS) + b"only a prompt\np,a,b,1,2,more\n")
    data = load(path, max_rejected=0.05)
    assert data.rows.rejected == {"chosen is missing": 1, "the row has more cells than the header": 1}
    assert data.rows.read == len(ROWS) + 2
    with pytest.raises(DataError, match=r"mine.csv, row \d+, field chosen: .*In all 2 of 62 rows"):
        load(path)


def test_columns_have_the_names_that_are_given(tmp_path, usual):
    names = {"prompt": "question", "chosen": "better", "rejected": "worse", "score_chosen": "s"}
    path = tmp_path / "mine.jsonl"
    path.write_text(json_lines([{names.get(name, name): value for name, value in row.items()} for row in ROWS]))
    assert load(path, **names).preferences == usual.preferences
    with pytest.raises(DataError, match="field chosen: chosen is missing"):
        load(path)


@FEW
@given(seed=st.integers(0, 5), share=st.floats(0.2, 0.8), repeats=st.integers(1, 4))
def test_no_prompt_is_in_two_splits_and_which_one_is_in_does_not_depend_on_the_others(seed, share, repeats):
    rows = [{**row, "prompt": row["prompt"].upper() if turn % 2 else f" {row['prompt']}", "chosen": f"Good {turn}"}
            for turn in range(repeats) for row in ROWS]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.jsonl"
        path.write_text(json_lines(rows))
        all_of_it = load(path, split_seed=seed, held_out_share=share)
        path.write_text(json_lines(rows[: len(rows) // 2]))
        half = load(path, split_seed=seed, held_out_share=share)
    splits = [{name: {prompt_key(prompt.text) for prompt in prompts} for name, prompts in data.prompts.items()}
              for data in (all_of_it, half)]
    assert sum(map(len, splits[0].values())) == len(set().union(*splits[0].values())) == len(ROWS)
    assert all(splits[1][name] <= splits[0][name] for name in splits[0])
    assert not any("held-out" in reason for reason in all_of_it.rows.rejected)


def test_the_share_and_the_seed_of_what_is_held_out(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json_lines([{**ROWS[0], "prompt": f"Prompt {at}"} for at in range(2000)]))
    held_out = [{p.text for split in ("validation", "test") for p in load(path, split_seed=seed).prompts[split]}
                for seed in (0, 0, 1)]
    assert held_out[0] == held_out[1] != held_out[2]
    assert all(abs(len(texts) - 200) < 50 for texts in held_out)  # 3.7 standard deviations


@pytest.mark.parametrize(("files", "settings", "expected"), [
    (("train", "validation", "test"), {}, (20, 20, 20)),
    (("train_prefs", "dev-1", "test_prefs"), {}, (20, 20, 20)),
    (("mine", "eval"), {}, (20, 0, 0)),
    (("train_sft", "train_prefs", "test_prefs"), {"train": "train_prefs"}, (20, 0, 0)),
    (("a", "b", "c"), {"train": "a,b", "test": "c"}, (40, 0, 0)),
])
def test_splits_by_name(files, settings, expected, tmp_path):
    for at, name in enumerate(files):
        (tmp_path / f"{name}.jsonl").write_text(json_lines(ROWS[at * 20 : at * 20 + 20]))
    prompts = {name: len(prompts) for name, prompts in load(tmp_path, **settings).prompts.items()}
    assert prompts["train"] == expected[0]
    if expected[1]:
        assert (prompts["validation"], prompts["test"]) == expected[1:]
    else:  # one set of held-out rows is divided
        assert prompts["validation"] and prompts["test"] and prompts["validation"] + prompts["test"] == 20


@pytest.mark.parametrize(("content", "settings", "words"), [
    (None, {}, "no such file"), ({"mine.txt": b"x"}, {}, "no file there ends in .jsonl"),
    ({"mine.jsonl": b""}, {}, "mine.jsonl: the file is empty"), ({"mine.csv": b""}, {}, "mine.csv: the file is empty"),
    ({"mine.csv": b"prompt,chosen,chosen\n"}, {}, "row 1: the header names column chosen more than once"),
    ({"mine.csv": b'prompt,chosen,rejected\n1,2,3\na,"b'}, {}, "mine.csv, row 3: not CSV"),
    ({"mine.csv": b"prompt\n\xff"}, {}, "mine.csv, row 2: not UTF-8"),
    ({"mine.csv.gz": b"x"}, {}, "mine.csv.gz: truncated or damaged gzip"),
    ({"mine.json": b"[1]"}, {}, "mine.json, row 1: a JSON int"), ({"mine.json": b"[{]"}, {}, "mine.json: not JSON"),
    ({"mine.parquet": b"x"}, {}, "mine.parquet: cannot be read as Parquet"),
    ({"test.jsonl": b"{}"}, {}, "no training rows in test"),
    ({"mine.jsonl": b"{}"}, {"train": "other"}, "preferences.train: nothing is called other. There are mine"),
])
def test_files_that_cannot_be_used_are_named(content, settings, words, tmp_path):
    for name, data in (content or {}).items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises((DataError, ConfigError), match=words):
        load(tmp_path if content else tmp_path / "none", **settings)


def test_the_hub_by_name(monkeypatch, usual):
    asked = []

    def load_dataset(*names, revision=None):
        asked.append((*names, revision))
        commit = SimpleNamespace(download_checksums={f"hf://datasets/a/b@{'0' * 40}/x": {}})
        return {"train_prefs": type("Rows", (list,), {"info": commit})([FORMS["ultrafeedback"](row) for row in ROWS]),
                "train_sft": [{}]}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = load(None, hub="a/b", hub_subset="c", hub_revision="main", train="*_prefs")
    assert asked == [("a/b", "c", "main")] and data.revision == "0" * 40
    assert data.preferences == usual.preferences
    with pytest.raises(ConfigError, match="preferences.hub=ORG/NAME"):
        load(None)


def test_without_data_it_says_what_to_pass():
    with pytest.raises(ConfigError, match="pass --data FILE or FOLDER"):
        read_tasks(Config(), ["preferences"])


def test_settings_reach_the_task_and_are_part_of_its_version(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json_lines([{"q": row["prompt"], **row} for row in ROWS]))
    local = [f"data.folder={path}", "data.source=local"]
    versions = [read_tasks(with_assignments(Config(), [*local, *more], []), ["preferences"])["preferences"].versions()
                for more in ([], ["preferences.prompt=q"], ["preferences.cue=\nA:"])]
    assert versions[0]["task_version"] == "1.0" and len({each["task_version"] for each in versions}) == 3
    assert len({each["revision"] for each in versions}) == 1


@pytest.mark.parametrize(("assignment", "words"), [
    ("preferences.held_out_share=1", "leaves nothing to train on"), ("preferences.cue= ", "preferences.cue is empty"),
    ("preferences.prompt=chosen", "must name three columns"), ("preferences.promt=x", "Did you mean prompt")])
def test_settings_that_cannot_be(assignment, words):
    with pytest.raises(ConfigError, match=words):
        with_assignments(Config(), [assignment], [])

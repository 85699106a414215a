"""Sources and rows that cannot be used: every message names place and remedy; what is fine stays fine."""

from __future__ import annotations

import json

import pytest

from benchmark.core.errors import DataError
from tasks import get_task
from tests.tasks.helpers import NAMES, json_lines, rows_of, tsv, write, write_folder


def load(folder, name, **arguments):
    return get_task(name).load("local", folder=folder, **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_a_good_folder_loads_whole(tmp_path, name):
    write_folder(tmp_path, name, *rows_of(name))
    data = load(tmp_path, name)
    assert data.rows.read == data.rows.used == 80
    assert len(data.preferences["train"]) == len(data.prompts["train"]) == 40
    assert len(data.prompts["validation"]) + len(data.prompts["test"]) == 40
    assert str(tmp_path) not in repr(data)


@pytest.mark.parametrize("name", NAMES)
def test_missing_folder_says_what_was_expected(tmp_path, name):
    with pytest.raises(DataError, match=r"does not exist.*--data FOLDER.*(json|tsv)"):
        load(tmp_path / "nowhere", name)


@pytest.mark.parametrize("name", NAMES)
def test_folder_without_the_files_lists_what_was_looked_for(tmp_path, name):
    write(tmp_path / "notes.txt", "nothing")
    with pytest.raises(DataError, match=r"Looked for .*(train|comparisons).*holds: notes.txt"):
        load(tmp_path, name)


@pytest.mark.parametrize("keep", [0.5, 0.97, 0.02])
def test_truncated_gzip(tmp_path, keep):
    path = write_folder(tmp_path, "hh_rlhf", *rows_of("hh_rlhf"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(DataError, match=r"harmless-base/train.jsonl.gz.*gzip.*again"):
        load(tmp_path, "hh_rlhf")


def test_a_text_file_named_gz(tmp_path):
    write_folder(tmp_path, "hh_rlhf", *rows_of("hh_rlhf")).write_text("not gzip")
    with pytest.raises(DataError, match=r"train.jsonl.gz.*gzip"):
        load(tmp_path, "hh_rlhf")


@pytest.mark.parametrize(("line", "message"), [("{broken", "not JSON"), ("[1, 2]", "a JSON list"), ("7", "a JSON int")])
@pytest.mark.parametrize("name", ["summarize_from_feedback", "hh_rlhf"])
def test_a_line_that_is_not_a_json_object(tmp_path, name, line, message):
    train, held_out = rows_of(name)
    path = write_folder(tmp_path, name, train, held_out)
    write(path, json_lines(train[:4]) + line + "\n" + json_lines(train[4:] + held_out))
    with pytest.raises(DataError, match=rf"{path.name}, row 5: {message}"):
        load(tmp_path, name)


def test_bytes_that_are_not_utf8(tmp_path):
    path = write_folder(tmp_path, "wmt20_mlqe", *rows_of("wmt20_mlqe"))
    lines = path.read_bytes().split(b"\n")
    lines[3] = lines[3].replace(b"Satz", b"Gr\xfc\xdfe")
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=r"train.ende.df.short.tsv, row 4: not UTF-8"):
        load(tmp_path, "wmt20_mlqe")


@pytest.mark.parametrize("column", ["original", "translation", "z_mean"])
def test_missing_tsv_column(tmp_path, column):
    train, held_out = rows_of("wmt20_mlqe")
    path = write_folder(tmp_path, "wmt20_mlqe", train, held_out)
    write(path, tsv(train).replace(column, "other", 1))
    with pytest.raises(DataError, match=rf"lacks column {column}"):
        load(tmp_path, "wmt20_mlqe")


def test_empty_tsv(tmp_path):
    write(write_folder(tmp_path, "wmt20_mlqe", *rows_of("wmt20_mlqe")), "")
    with pytest.raises(DataError, match="the file is empty"):
        load(tmp_path, "wmt20_mlqe")


H, A = "\n\nHuman:", "\n\nAssistant:"
# task, the fields that spoil a row (None removes a field), the reason, the field named
BAD_ROWS = [
    ("summarize_from_feedback", {"choice": None}, "choice is missing", "choice"),
    ("summarize_from_feedback", {"choice": 2}, "choice is not 0 or 1", "choice"),
    ("summarize_from_feedback", {"choice": "0"}, "choice is not 0 or 1", "choice"),
    ("summarize_from_feedback", {"choice": True}, "choice is not 0 or 1", "choice"),
    ("summarize_from_feedback", {"choice": [0]}, "choice is not 0 or 1", "choice"),
    ("summarize_from_feedback", {"summaries": None}, "summaries are not two", "summaries"),
    ("summarize_from_feedback", {"summaries": ["a", "b"]}, "not an object", "summaries"),
    (
        "summarize_from_feedback",
        {"summaries": [{"text": "a"}, {"text": " "}]},
        "is empty",
        "summaries[1].text",
    ),
    ("summarize_from_feedback", {"summaries": [{"text": "a"}, {"text": "a\r\n"}]}, "identical", "summaries"),
    ("summarize_from_feedback", {"info": None}, "info is missing", "info"),
    ("summarize_from_feedback", {"info": {"post": ""}}, "info.post is empty", "info.post"),
    ("summarize_from_feedback", {"info": {"post": 3}}, "not a string", "info.post"),
    ("summarize_from_feedback", {"info": {"post": "x", "title": 3}}, "not a string", "info.title"),
    ("summarize_from_feedback", {"split": "holdout"}, "split is unknown", "split"),
    ("wmt20_mlqe", {"z_mean": "n/a"}, "z_mean is not a number", "z_mean"),
    ("wmt20_mlqe", {"z_mean": ""}, "z_mean is not a number", "z_mean"),
    ("wmt20_mlqe", {"z_mean": "nan"}, "not a finite number", "z_mean"),
    ("wmt20_mlqe", {"z_mean": "-inf"}, "not a finite number", "z_mean"),
    ("wmt20_mlqe", {"original": " "}, "original is empty", "original"),
    ("wmt20_mlqe", {"translation": ""}, "translation is empty", "translation"),
    ("wmt20_mlqe", {"translation": "ein\tTabulator"}, "too many fields", "model_scores"),
    ("hh_rlhf", {"chosen": None}, "chosen is missing", "chosen"),
    ("hh_rlhf", {"rejected": 5}, "rejected is not a string", "rejected"),
    ("hh_rlhf", {"chosen": f"{H} Hi"}, "chosen has no assistant turn", "chosen"),
    (
        "hh_rlhf",
        {"chosen": f"{H} Hi{A} a", "rejected": f"{H} Ho{A} b"},
        "share no assistant turn",
        "rejected",
    ),
    ("hh_rlhf", {"chosen": f"{H} Hi{A} same", "rejected": f"{H} Hi{A} same"}, "identical", "rejected"),
    ("hh_rlhf", {"chosen": f"{H} Hi{A} ", "rejected": f"{H} Hi{A} b"}, "last reply is empty", "chosen"),
    ("hh_rlhf", {"chosen": f"{A} a", "rejected": f"{A} b"}, "prompt is empty", "chosen"),
    ("hh_rlhf", {"chosen": f"{H} \ud800{A} a"}, "not valid Unicode", "chosen"),
]


@pytest.mark.parametrize(("name", "fields", "reason", "field"), BAD_ROWS)
def test_bad_rows_are_counted_and_too_many_are_an_error(tmp_path, name, fields, reason, field):
    train, held_out = rows_of(name)
    spoilt = {key: value for key, value in {**train[6], **fields}.items() if value is not None}
    if name == "hh_rlhf":  # ensure_ascii, as the published files: a lone surrogate is an escape
        path = write_folder(tmp_path, name, train, held_out)
        write(path, "".join(json.dumps(row) + "\n" for row in (*train[:6], spoilt, *train[7:])))
    else:
        path = write_folder(tmp_path, name, [*train[:6], spoilt, *train[7:]], held_out)
    data = load(tmp_path, name)
    assert [count for text, count in data.rows.rejected.items() if reason in text] == [1]
    assert data.rows.read == data.rows.used + 1 == 80
    number = 8 if name == "wmt20_mlqe" else 7
    with pytest.raises(DataError) as caught:
        load(tmp_path, name, max_rejected=0.01)
    message = str(caught.value)
    assert f"{path.name}, row {number}, field {field}: " in message
    assert reason in message and "data.max_rejected" in message


def test_a_tsv_line_that_is_cut_short_is_a_bad_row(tmp_path):
    train, held_out = rows_of("wmt20_mlqe")
    path = write_folder(tmp_path, "wmt20_mlqe", train, held_out)
    lines = tsv(train).split("\n")
    lines[2] = "\t".join(lines[2].split("\t")[:3])
    write(path, "\n".join(lines))
    assert load(tmp_path, "wmt20_mlqe").rows.rejected == {"z_mean is missing": 1}


@pytest.mark.parametrize("name", NAMES)
def test_crlf_changes_nothing(tmp_path, name):
    write_folder(tmp_path / "lf", name, *rows_of(name))
    write_folder(tmp_path / "crlf", name, *rows_of(name), end="\r\n")
    one, two = load(tmp_path / "lf", name), load(tmp_path / "crlf", name)
    assert one.preferences == two.preferences and one.revision == two.revision


def test_crlf_inside_a_transcript(tmp_path):
    train, held_out = rows_of("hh_rlhf")
    train = [{key: text.replace("\n", "\r\n") for key, text in row.items()} for row in train]
    write_folder(tmp_path, "hh_rlhf", train, held_out)
    pair = load(tmp_path, "hh_rlhf").preferences["train"][0]
    assert pair.prompt == "Human: Hi\n\nAssistant: Hello.\n\nHuman: train question 0?"
    assert (pair.chosen, pair.rejected) == ("Good answer 0.", "Go away.")


STRANGE = 'a "bare" quote\' \u2028 \x85 \u00e9 \ufffd \U0001f600 \U00020000 \U000e0041 \U0010fffd \u202e end'


@pytest.mark.parametrize("name", NAMES)
def test_every_plane_quotes_and_line_separators_survive(tmp_path, name):
    train, held_out = rows_of(name)
    if name == "summarize_from_feedback":
        train[3]["summaries"][0]["text"] = STRANGE
    elif name == "wmt20_mlqe":
        train[3]["translation"] = STRANGE
    else:
        train[3]["chosen"] = train[3]["chosen"].replace("Good answer 3.", STRANGE)
    write_folder(tmp_path, name, train, held_out)
    data = load(tmp_path, name)
    assert data.rows.used == 80
    assert data.preferences["train"][3].chosen == STRANGE


@pytest.mark.parametrize("name", NAMES)
def test_extra_fields_and_a_byte_order_mark_are_harmless(tmp_path, name):
    train, held_out = rows_of(name)
    path = write_folder(tmp_path, name, train, held_out)
    if name == "wmt20_mlqe":
        write(path, "\ufeff" + "\n".join(line + "\tmore" for line in tsv(train).splitlines()))
    else:
        rows = [{**row, "more": {"deep": 1}} for row in train]
        write(path, "\ufeff" + json_lines(rows + (held_out if name == "summarize_from_feedback" else [])))
    assert load(tmp_path, name).rows.used == 80


def test_held_out_prompts_seen_in_training_are_dropped_and_counted(tmp_path):
    train, held_out = rows_of("hh_rlhf")
    copied = [
        {key: text.replace("train question", "Train  question") for key, text in row.items()} for row in train[:5]
    ]
    write_folder(tmp_path, "hh_rlhf", train, held_out + copied)
    data = load(tmp_path, "hh_rlhf")
    assert data.rows.rejected == {"held-out prompt also in training": 5}
    assert data.rows.read == 85 and data.rows.used == 80


def test_no_held_out_rows_is_an_error(tmp_path):
    write_folder(tmp_path, "summarize_from_feedback", rows_of("summarize_from_feedback")[0], [])
    with pytest.raises(DataError, match="the validation split is empty"):
        load(tmp_path, "summarize_from_feedback")

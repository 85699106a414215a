"""Rows that nobody planned for: whatever a file holds, each row is used or counted by its reason, or an error names
the place. Examples are drawn by hypothesis, small ones first, so that a failure shows the shortest file that breaks.
"""

from __future__ import annotations

import copy
import gzip
import json
import math
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.core.errors import DataError
from tasks import get_task
from tasks.adapter import REPEATED, SEEN_IN_TRAINING, SEEN_IN_VALIDATION, prompt_key
from tests.tasks.helpers import COLUMNS, NAMES, json_lines, rows_of, tsv, write, write_folder

GOOD = 12  # rows of each split that stay as they are
LEAKS = (SEEN_IN_TRAINING, SEEN_IN_VALIDATION)
FIELDS = {"summarize_from_feedback": ("info", "summaries", "choice", "split"), "wmt20_mlqe": COLUMNS,
          "hh_rlhf": ("chosen", "rejected")}
PLANES = "".join(chr(plane << 16 | 0x0141) for plane in range(17))
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=12),  # any code point of any plane, lone surrogates too
    st.sampled_from(["", " ", "\r\n", '"', "'", '"a', "\u2028", "\x85", "\x00", "\x1b[2J", "=1+1", "nan", "1_0",
                     "\ufeff", PLANES, "\n\nHuman: x\n\nAssistant: y"]),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5)
FEW = settings(max_examples=40, deadline=None)


def good_rows(name):
    return tuple(copy.deepcopy(rows[:GOOD]) for rows in rows_of(name))


def load(folder, name, **arguments):
    return get_task(name).load("local", folder=folder, **arguments)


def places(value, start=()):
    """Every path into nested lists and objects."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*start, key)
        yield from places(item, (*start, key))


@st.composite
def spoilt_objects(draw, name):
    """A published row with up to two of its places removed or filled with anything, and perhaps a field more."""
    row = copy.deepcopy(draw(st.sampled_from(good_rows(name)[0])))
    for _ in range(draw(st.integers(0, 2))):
        *way, last = draw(st.sampled_from(list(places(row)) or [("again",)]))
        holder = row
        for key in way:
            holder = holder[key]
        if draw(st.booleans()):
            holder[last] = draw(VALUES)
        else:
            holder.pop(last, None) if isinstance(holder, dict) else holder.pop(last)
    return json.dumps({**draw(st.dictionaries(TEXTS, VALUES, max_size=1)), **row})


@st.composite
def dialogues(draw):
    """Two transcripts in odd shapes that may or may not share a beginning."""
    parts = st.sampled_from(["\n\nHuman:", "\n\nAssistant:", "\r\n\r\nAssistant:", "Human:", "\n", " ", "yes"])
    start = "".join(draw(st.lists(parts, max_size=5)))
    return json.dumps({field: start + "".join(draw(st.lists(parts, max_size=4))) for field in FIELDS["hh_rlhf"]})


@st.composite
def lines_of_cells(draw):
    """A line of a TSV with any number of any cells; one of them may be the row's own."""
    row = draw(st.sampled_from(good_rows("wmt20_mlqe")[0]))
    cells = [row[column] for column in COLUMNS][: draw(st.integers(0, len(COLUMNS)))]
    for _ in range(draw(st.integers(0, 3))):
        text = draw(st.text(max_size=6) | st.sampled_from(["nan", "1_0", "\t", "", PLANES, '"']))
        at = draw(st.integers(0, len(cells)))
        cells[at : at + draw(st.integers(0, 1))] = [text]
    return "\t".join(cells).replace("\n", "")


LINES = {"summarize_from_feedback": spoilt_objects("summarize_from_feedback"),
         "hh_rlhf": spoilt_objects("hh_rlhf") | dialogues(), "wmt20_mlqe": lines_of_cells()}


def add_lines(folder, name, lines, end="\n"):
    """Write good rows with ``lines`` after the fifth; return how many rows that makes, and the numbers of the new."""
    train, held_out = good_rows(name)
    path = write_folder(folder, name, train, held_out, end)
    whole = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    before = whole.decode().split("\n")
    at = 5 + (name == "wmt20_mlqe")
    write(path, "\n".join([*before[:at], *(line + end.removesuffix("\n") for line in lines), *before[at:]]))
    rows = [line for line in lines if line.rstrip("\r")]  # a line without any character is no row
    return len(train) + len(held_out) + len(rows), range(at + 1, at + 1 + len(lines))


def check(data, total):
    """What holds of any data that was loaded."""
    rows = data.rows
    assert rows.read == total == rows.used + sum(rows.rejected.values())
    assert all(count > 0 for count in rows.rejected.values()) and rows.used >= 2 * GOOD
    assert f"{rows.read} rows read, {rows.used} used" == rows.lines()[0]
    for reason, count in rows.rejected.items():
        assert f"{count} left out: {reason}" in rows.lines()
    texts = [text for pairs in data.preferences.values() for pair in pairs for text in vars(pair).values()]
    texts += [text for prompts in data.prompts.values() for prompt in prompts for text in vars(prompt).values()]
    texts += [text for pair in data.demonstrations for text in pair]
    for text in texts:
        assert text and text == text.strip() and "\r" not in text and text.encode("utf-8")
    assert all(pair.chosen != pair.rejected for pairs in data.preferences.values() for pair in pairs)
    assert all(math.isfinite(example.score) for examples in data.scored.values() for example in examples)
    keys = [{prompt_key(prompt.text) for prompt in prompts} for prompts in data.prompts.values()]
    assert sum(map(len, keys)) == len(set().union(*keys))


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(data=st.data())
def test_every_row_is_used_or_counted_and_an_error_names_file_row_and_field(name, data):
    lines = data.draw(st.lists(LINES[name], max_size=5))
    with tempfile.TemporaryDirectory() as folder:
        total, numbers = add_lines(Path(folder), name, lines, data.draw(st.sampled_from(["\n", "\r\n"])))
        loaded = load(folder, name, max_rejected=1.0)
        check(loaded, total)
        malformed = sum(count for reason, count in loaded.rows.rejected.items() if reason not in LEAKS)
        if not malformed:
            assert load(folder, name, max_rejected=0.0).preferences == loaded.preferences
            return
        with pytest.raises(DataError) as caught:
            load(folder, name, max_rejected=0.0)
    message = str(caught.value)
    place = re.match(r"[\w./-]+, row (\d+), field (\w+)", message)
    assert place and int(place[1]) in numbers and place[2] in FIELDS[name], message
    assert f"In all {malformed} of {total} rows" in message and "data.max_rejected" in message


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(data=st.data())
def test_any_bytes_in_a_file_are_an_error_that_names_it_or_rows_that_are_counted(name, data):
    with tempfile.TemporaryDirectory() as folder:
        path = write_folder(Path(folder), name, *good_rows(name))
        content = path.read_bytes()
        at = data.draw(st.integers(0, len(content)))
        cut = data.draw(st.integers(0, 3))
        path.write_bytes(content[:at] + data.draw(st.binary(max_size=8)) + content[at + cut :])
        try:
            rows = load(folder, name, max_rejected=1.0).rows
        except DataError as error:
            assert path.name in str(error) or "split is empty" in str(error)
        else:
            assert rows.read == rows.used + sum(rows.rejected.values())


@FEW
@given(share=st.floats(0, 1, exclude_max=True))
def test_gzip_cut_anywhere_is_never_read_in_part(share):
    with tempfile.TemporaryDirectory() as folder:
        path = write_folder(Path(folder), "hh_rlhf", *good_rows("hh_rlhf"))
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(DataError, match=r"harmless-base/train.jsonl.gz.*(gzip|empty).* again"):
            load(folder, "hh_rlhf")


def with_text(name, row, text):
    """``row`` with ``text`` as its preferred completion and, where the task allows it, in its prompt."""
    if name == "summarize_from_feedback":
        row["info"]["post"], row["summaries"][0]["text"] = text + " post", text
    elif name == "wmt20_mlqe":
        row["original"], row["translation"] = text + " source", text
    else:
        start = f"\n\nHuman: {text} question\n\nAssistant:"
        row["chosen"], row["rejected"] = f"{start} {text}", f"{start} Go away."


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", [
    'a "bare quote\' ' * 6700,  # 100,500 characters
    "".join(chr(plane << 16 | low) for plane in range(17) for low in (0x0141, 0x2F00, 0xFFFD, 0xFFFE, 0xFFFF)),
    "x" + "\u2028\u2029\x85\x0b\x0c\x1c\x00\x1b\u202e" + "x",
], ids=["100,000 characters", "every plane", "separators and controls"])
def test_long_and_strange_texts_arrive_whole(tmp_path, name, text):
    text = text.strip()
    train, held_out = good_rows(name)
    with_text(name, train[3], text)
    write_folder(tmp_path, name, train, held_out)
    data = load(tmp_path, name)
    assert data.rows.used == 2 * GOOD
    pair = next(pair for pair in data.preferences["train"] if pair.chosen == text)
    assert text in pair.prompt


@pytest.mark.parametrize("name", NAMES)
def test_repeated_rows_are_used_and_shown(tmp_path, name):
    train, held_out = good_rows(name)
    write_folder(tmp_path, name, [*train, *train[:3], train[0]], held_out)
    data = load(tmp_path, name)
    assert data.rows.read == data.rows.used == 2 * GOOD + 4 and data.rows.notes[REPEATED] == 4
    assert f"4 {REPEATED}" in data.rows.lines()


def test_splits_mixed_in_one_file_are_told_apart_row_by_row(tmp_path):
    train, held_out = good_rows("summarize_from_feedback")
    mixed = [row for pair in zip(train, held_out, strict=True) for row in pair]
    mixed[1]["split"], mixed[3]["split"], mixed[5]["split"], mixed[7]["split"] = "test", "valid2", "held", None
    mixed.append({**copy.deepcopy(train[0]), "split": "valid1"})
    write(tmp_path / "comparisons/batch.json", json_lines(mixed))
    data = load(tmp_path, "summarize_from_feedback", max_rejected=0.1)
    assert len(data.preferences["train"]) == GOOD and data.rows.read == 2 * GOOD + 1
    assert data.rows.rejected == {"split is unknown": 2, SEEN_IN_TRAINING: 1}


@pytest.mark.parametrize(("name", "twin"), [("summarize_from_feedback", "batch3.json.gz"), ("hh_rlhf", "train.jsonl")])
def test_a_file_beside_its_compressed_twin_counts_once_and_backups_do_not_count(tmp_path, name, twin):
    path = write_folder(tmp_path, name, *good_rows(name))
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    write(path.with_name(twin), text)
    write(path.with_name(path.name.removesuffix(".gz") + "~"), text)
    assert load(tmp_path, name).rows.read == 2 * GOOD


def test_a_line_of_tabs_is_a_row_and_an_empty_line_is_none(tmp_path):
    train, held_out = good_rows("wmt20_mlqe")
    path = write_folder(tmp_path, "wmt20_mlqe", train, held_out)
    write(path, tsv(train) + "\t" * (len(COLUMNS) - 1) + "\n\n   \n\r\n")
    rows = load(tmp_path, "wmt20_mlqe", max_rejected=0.1).rows
    assert rows.read == 2 * GOOD + 2 and rows.rejected == {"original is empty": 1, "original is missing": 1}


@pytest.mark.parametrize("score", ["1_0", "\uff11", "0x1", "1,5", "--1", "1e999", "NaN", " "])
def test_a_score_that_is_no_plain_finite_number_is_rejected(tmp_path, score):
    train, held_out = good_rows("wmt20_mlqe")
    train[2]["z_mean"] = score
    write_folder(tmp_path, "wmt20_mlqe", train, held_out)
    (reason,) = load(tmp_path, "wmt20_mlqe").rows.rejected
    assert reason.startswith("z_mean is not a")


def test_a_column_named_twice_is_an_error(tmp_path):
    train, held_out = good_rows("wmt20_mlqe")
    write(write_folder(tmp_path, "wmt20_mlqe", train, held_out), tsv(train).replace("model_scores", "translation", 1))
    with pytest.raises(DataError, match=r"train.ende.df.short.tsv, row 1: .*names column translation more than once"):
        load(tmp_path, "wmt20_mlqe")


@pytest.mark.parametrize("depth", range(900, 1010, 10))
def test_rows_nested_out_of_reason_are_an_error_or_harmless(tmp_path, depth):
    train, held_out = good_rows("hh_rlhf")
    path = write_folder(tmp_path, "hh_rlhf", train, held_out)
    row = json.dumps(train[0])[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}\n"
    write(path, json_lines(train[:4]) + row + json_lines(train[4:]))
    try:
        assert load(tmp_path, "hh_rlhf").rows.used == 2 * GOOD + 1
    except DataError as error:
        assert "train.jsonl.gz, row 5" in str(error)


def test_an_empty_file_is_named(tmp_path):
    write_folder(tmp_path, "hh_rlhf", *good_rows("hh_rlhf"))
    write(tmp_path / "hh-rlhf/helpful-base/train.jsonl", "")
    with pytest.raises(DataError, match=r"helpful-base/train.jsonl: the file is empty"):
        load(tmp_path, "hh_rlhf")


def test_a_folder_that_may_not_be_listed_is_an_error(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        load(tmp_path, "wmt20_mlqe")


def test_hub_columns_of_unequal_length_and_flat_translations_are_counted(monkeypatch):
    train, held_out = good_rows("summarize_from_feedback")
    train[0]["summaries"] = {"text": ["a", "b", "c"], "policy": ["x", "y"]}
    monkeypatch.setattr("tasks.adapter.load_hub", lambda *_: ({"train": train, "validation": held_out}, None))
    rows = get_task("summarize_from_feedback").load("hub").rows
    assert rows.rejected == {"summaries are not two": 1} and rows.read == 2 * GOOD
    train, held_out = good_rows("wmt20_mlqe")
    monkeypatch.setattr("tasks.adapter.load_hub", lambda *_: (
        {"train": train, "validation": held_out[:6], "test": held_out[6:]}, None))
    assert get_task("wmt20_mlqe").load("hub").rows.used == 2 * GOOD


@pytest.mark.parametrize(("asked", "revision"), [("refs/convert/parquet", r"[0-9a-f]{16}"), ("0" * 40, "0{40}")])
def test_the_name_of_a_branch_is_no_revision(monkeypatch, asked, revision):
    """Where the library does not say which commit it loaded, rows that change must not keep their identity."""
    datasets = pytest.importorskip("datasets")
    train, held_out = good_rows("hh_rlhf")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: {"train": train, "test": held_out})
    task = get_task("hh_rlhf")
    task.hub_revision = asked
    assert re.fullmatch(revision, task.load("hub").revision)

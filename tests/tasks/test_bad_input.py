"""Sources and rows that cannot be used: every message names place and remedy; what is fine stays fine."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
from unicodedata import normalize

import pytest

from benchmark.core.errors import DataError
from tasks import get_task
from tasks.adapter import SEEN_IN_TRAINING
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


def test_a_file_is_read_by_its_content_whatever_its_ending_says(tmp_path):
    """What a browser unpacked keeps its name; what a script packed may have lost it."""
    path = write_folder(tmp_path, "hh_rlhf", *rows_of("hh_rlhf"))
    packed = path.read_bytes()
    path.write_bytes(gzip.decompress(packed))
    whole = load(tmp_path, "hh_rlhf")
    path.unlink()
    path.with_name("train.jsonl").write_bytes(packed)
    assert load(tmp_path, "hh_rlhf").preferences == whole.preferences and whole.rows.used == 80


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("content", "words"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5380\n", "git-lfs pointer.*git lfs pull"),
    (b"PK\x03\x04rest", "ZIP archive. Unpack"), (b"\xfd7zXZ\x00", "xz. Unpack"), (b"BZh91AY", "bzip2. Unpack"),
    (b"\x28\xb5\x2f\xfd", "zstd. Unpack"), (b"PAR1rest", "Parquet"), (b"<!DOCTYPE html>", "web page"),
])
def test_what_is_no_file_of_rows_is_called_by_its_name(tmp_path, name, content, words):
    path = write_folder(tmp_path, name, *rows_of(name))
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path.name}: .*{words}"):
        load(tmp_path, name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["._{}", ".{}", ".ipynb_checkpoints/{}", "__MACOSX/{}"])
def test_what_a_system_put_there_for_itself_is_no_data(tmp_path, name, place):
    path = write_folder(tmp_path, name, *rows_of(name))
    other = path.with_name("x").parent / place.format(path.name)
    for spot in (other, path.parent.parent / place.format(path.name)):
        spot.parent.mkdir(exist_ok=True)
        spot.write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X\x00\xb0")
    assert load(tmp_path, name).rows.read == 80


@pytest.mark.parametrize("copy", ["batch3 (1).json", "batch3(2).json", "batch3 copy.json", "batch3 - Copy (2).json",
                                  "Copy of batch3.json"])
def test_a_copy_beside_its_original_counts_once_and_another_content_is_asked_about(tmp_path, copy):
    path = write_folder(tmp_path, "summarize_from_feedback", *rows_of("summarize_from_feedback"))
    path.with_name(copy).write_bytes(path.read_bytes())
    assert load(tmp_path, "summarize_from_feedback").rows.read == 80
    path.with_name(copy).write_text(json_lines(rows_of("summarize_from_feedback")[0]))
    with pytest.raises(DataError, match=r"named like a copy of batch3.json.*Remove"):
        load(tmp_path, "summarize_from_feedback")
    path.unlink()  # alone it is data
    train, held_out = rows_of("summarize_from_feedback")
    path.with_name(copy).write_text(json_lines(train + held_out))
    assert load(tmp_path, "summarize_from_feedback").rows.read == 80


def test_a_copied_folder_counts_once(tmp_path):
    path = write_folder(tmp_path, "hh_rlhf", *rows_of("hh_rlhf"))
    shutil.copytree(path.parent, path.parent.with_name("harmless-base copy"))
    assert load(tmp_path, "hh_rlhf").rows.read == 80


def published(tmp_path, place):
    """MLQE-PE as its archives unpack, train, dev and test each in a folder of its own."""
    write_folder(tmp_path / "flat", "wmt20_mlqe", *rows_of("wmt20_mlqe"))
    for stem in ("train", "dev"):
        name = f"{stem}.ende.df.short.tsv"
        target = tmp_path / place / stem / f"en-de-{stem}" / name
        target.parent.mkdir(parents=True)
        shutil.copy(tmp_path / "flat/wmt20_mlqe_task1/en-de" / name, target)
    return tmp_path / place


@pytest.mark.parametrize("given", ["", "mlqe", "mlqe/data", "mlqe/data/direct-assessments"])
def test_the_layout_of_mlqe_pe_is_read(tmp_path, given):
    published(tmp_path, "here/mlqe/data/direct-assessments")
    flat, apart = (load(folder, "wmt20_mlqe") for folder in (tmp_path / "flat", tmp_path / "here" / given))
    assert flat.revision == apart.revision and flat.scored == apart.scored


def test_a_layout_that_is_not_whole_or_twice_says_so(tmp_path):
    root = published(tmp_path, "mlqe/data/direct-assessments")
    twice = root / "train/again/train.ende.df.short.tsv"
    write(twice, "x")
    with pytest.raises(DataError, match=r"train.ende.df.short.tsv is there 2 times"):
        load(tmp_path / "mlqe", "wmt20_mlqe")
    shutil.rmtree(twice.parent)
    shutil.rmtree(root / "dev")
    with pytest.raises(DataError, match=r"no dev.ende.df.short.tsv below direct-assessments. Unpack"):
        load(tmp_path / "mlqe", "wmt20_mlqe")


def test_the_blind_test_set_is_called_so(tmp_path):
    path = write_folder(tmp_path, "wmt20_mlqe", *rows_of("wmt20_mlqe"))
    write(path.with_name("test20.ende.df.short.tsv"), "index\toriginal\ttranslation\n0\tA.\tB.\n")
    with pytest.raises(DataError, match=r"test20.ende.df.short.tsv, row 1: .*blind.*remove it"):
        load(tmp_path, "wmt20_mlqe")


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_a_tsv_that_a_program_saved_with_quotes_is_what_it_was(tmp_path, quoting):
    rows = rows_of("wmt20_mlqe")
    for row in rows[0][:5]:
        row |= {"original": f'He said "{row["index"]}"', "translation": f'"{row["index"]}" sagte er'}
    path = write_folder(tmp_path, "wmt20_mlqe", *rows)
    whole, text = load(tmp_path, "wmt20_mlqe"), io.StringIO()
    csv.writer(text, delimiter="\t", quoting=quoting, lineterminator="\n").writerows(
        line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    path.write_text(text.getvalue(), encoding="utf-8")
    again = load(tmp_path, "wmt20_mlqe")
    assert again.revision == whole.revision and again.scored == whole.scored
    assert any('He said "3"' in example.prompt for example in again.scored["train"])


@pytest.mark.parametrize("translation", ['"Alles" davon', '"Alles davon"', 'Alles ""davon""'])
def test_quotes_of_a_text_stay_where_no_program_quoted(tmp_path, translation):
    rows = rows_of("wmt20_mlqe")
    rows[0][0] |= {"original": '"All of it"', "translation": translation}
    write_folder(tmp_path, "wmt20_mlqe", *rows)
    assert any(example.prompt == 'English: "All of it"' for example in load(tmp_path, "wmt20_mlqe").scored["train"])


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


@pytest.mark.parametrize(("one", "other"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_prompt_is_the_same_however_its_accents_are_written(tmp_path, one, other):
    """20 of 20 prompts leaked into the held-out rows of a file that another system had written."""
    train = [{key: normalize(one, text.replace("question", "Übergröße é")) for key, text in row.items()}
             for row in rows_of("hh_rlhf")[0]]
    leaked = [{key: normalize(other, text) for key, text in row.items()} for row in train]
    write_folder(tmp_path, "hh_rlhf", train, leaked[:20] + rows_of("hh_rlhf")[1])
    assert load(tmp_path, "hh_rlhf").rows.rejected == {SEEN_IN_TRAINING: 20}


def test_no_held_out_rows_is_an_error(tmp_path):
    write_folder(tmp_path, "summarize_from_feedback", rows_of("summarize_from_feedback")[0], [])
    with pytest.raises(DataError, match="the validation split is empty"):
        load(tmp_path, "summarize_from_feedback")

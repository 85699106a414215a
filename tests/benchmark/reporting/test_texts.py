"""Texts of data sets, models and messages stay texts, in every format and on the terminal, and name no place."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from benchmark.cli import main
from benchmark.core import escape
from benchmark.core.paths import without_places
from benchmark.core.terminal import Visible, guarded
from benchmark.grid.display import Display
from benchmark.grid.jobs import Preparation
from benchmark.reporting.read import reader
from benchmark.reporting.tables import per_task, spreadsheet
from benchmark.reporting.tables.sheets import Sheet
from tests.benchmark.reporting.golden import make

MARKS = "\\{}[]$&#_^~%*|<>`!=+-@'\"\n\r\t\x1b"
TEXTS = st.text(st.one_of(st.characters(exclude_categories=()), st.sampled_from(MARKS)))
FEW = settings(max_examples=150, deadline=None)


@FEW
@given(TEXTS)
def test_a_csv_cell_is_never_a_formula_and_reads_back(text):
    cell = escape.csv_cell(text)
    assert cell.removeprefix("'") == escape.visible(text).removeprefix("'")
    assert cell.lstrip()[:1] not in tuple("=+-@\uff1d\uff0b\uff0d\uff20") or escape._FIGURE.fullmatch(cell)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([cell, "next"])
    assert next(csv.reader(io.StringIO(out.getvalue(), newline=""))) == [cell, "next"]


@pytest.mark.parametrize("text", [
    "=1+1", "+1+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1+1", " =1", "\uff1d1", "-A1", "+to(A1)x",
    '=HYPERLINK("http://x","y")', "-1*2", "-1E", "+", "-of!A1",
])
def test_formulas_are_made_text(text):
    cell = escape.csv_cell(text)
    assert cell.startswith("'") or text in ("+",)


@pytest.mark.parametrize("text", ["+0.950", "-3", "-3.290 → -1.100", "+0.410 ±0.042 [+0.380 +0.440]", "-1.5e-05",
                                  "+0.950 (+0.900 to +1.000)", "-1,234.5", "–", "−0.5", "+31", "n/a", "RLOO"])
def test_figures_stay_as_they_are(text):
    assert escape.csv_cell(text) == text


def test_the_csv_of_a_sheet_and_of_a_table_is_escaped(tmp_path):
    sheet = Sheet("k", "t", "", ("task", "=1"), (("=cmd|' /C calc'!A0", "+1,000"),), reduced="@x")
    rows = list(csv.reader(io.StringIO(spreadsheet.to_csv(sheet))))
    assert rows == [["task", "'=1", "protocol note"], ["'=cmd|' /C calc'!A0", "+1000", "'@x"]]
    run = make.write_run(tmp_path, "hh_rlhf", "mezo", 0)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    (run / "summary.json").write_text(json.dumps({**summary, "warnings": ["=evil()"]}), encoding="utf-8")
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["run"]["profile"] = "@evil"
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    results = reader.read(tmp_path)
    (row,) = csv.DictReader(io.StringIO(spreadsheet.to_csv(per_task.build(results, "hh_rlhf"))))
    assert row["profile"] == "'@evil" and row["warnings"] == "MeZO, seed 0: =evil()"


SPECIAL = set("\\{}[]$&#_^~%*|<>\"")


@FEW
@given(TEXTS)
def test_latex_holds_no_command_but_those_of_the_table(text):
    rest = escape.latex(text)
    for known in sorted((v for v in escape._LATEX.values() if set(v) & SPECIAL), key=len, reverse=True):
        rest = rest.replace(known, "")
    assert not set(rest) & SPECIAL and all(c.isascii() or "\u00c0" <= c <= "\u00ff" for c in rest)


@FEW
@given(TEXTS)
def test_markdown_in_a_cell_is_one_cell_of_literal_text(text):
    page = f"| a | b |\n|:--|:--|\n| {escape.markdown(text)} | end |\n"
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page)
    cells = [token for token in tokens if token.type == "inline"][2:]
    assert [token.type for token in tokens].count("table_open") == 1 and len(cells) == 2
    assert cells[1].content == "end"
    inner = cells[0].children
    assert {token.type for token in inner} <= {"text", "text_special", "html_inline"}
    assert {token.content for token in inner if token.type == "html_inline"} <= {"<br>"}
    shown = "".join("\n" if token.type == "html_inline" else token.content for token in inner)
    assert shown.split() == escape.visible(text).split()


# The terminal.

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b1mx\rgone\x08\x00\u202e\ud800\u200b"


def obeyed(text):
    """Characters that a terminal would act upon."""
    return [c for c in text if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or c in "\u202e\u200b\ud800"]


@FEW
@given(TEXTS)
def test_a_guarded_stream_obeys_nothing(text):
    out, err = io.StringIO(), io.StringIO()
    Visible(out).write(text)
    Visible(err, leading="\r").write(text)
    assert obeyed(out.getvalue()) == [] and obeyed(err.getvalue().lstrip("\r")) == []


def test_standard_streams_are_guarded_inside_and_themselves_again_after(capsys):
    out, err = sys.stdout, sys.stderr
    with guarded():
        print(f"π₀ {EVIL}")
        print(f"error: {EVIL}", file=sys.stderr)
        sys.stderr.write("\r50 %")
        sys.stdout.writelines(["a\x1b", "b"])
        assert sys.stdout.encoding == out.encoding
    assert (sys.stdout, sys.stderr) == (out, err)
    shown = capsys.readouterr()
    assert obeyed(shown.out) == [] and shown.out.startswith("π₀ ") and shown.out.endswith("a\ufffdb")
    assert obeyed(shown.err.replace("\r50", "50")) == [] and "\r50 %" in shown.err


def test_messages_of_runs_and_data_reach_the_terminal_as_text(tmp_path, capsys):
    out = tmp_path / "out"
    run = make.write_run(out, "hh_rlhf", "mezo", 0)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    (run / "summary.json").write_text(json.dumps({**summary, "warnings": [f"odd {EVIL}"]}), encoding="utf-8")
    failed = make.write_run(out, "hh_rlhf", "zopro", 1)
    (failed / "error.json").write_text(json.dumps({"type": "X", "message": EVIL}), encoding="utf-8")
    assert main(["status", str(out)]) == 0
    assert main(["report", str(out)]) == 0
    (run / "curve.jsonl").write_text("", encoding="utf-8")
    run.rename(out / f"hh_rlhf__mezo\x1b[2J__s0__{'a' * 8}")
    assert main(["report", str(out)]) == 2
    shown = capsys.readouterr()
    assert obeyed(shown.out + shown.err) == [] and "odd" in shown.out and "hh_rlhf__mezo\ufffd[2J" in shown.err


def test_the_live_display_shows_messages_as_text(toy_config, capsys):
    with guarded(), Display([], "2 updates") as display:
        display.ended(Preparation("t", 0, Path("x"), toy_config), {"status": "failed", "message": EVIL})
    shown = capsys.readouterr().out
    assert obeyed(shown) == [] and "FAILED" in shown


# Places: what is written says nothing of the machine.

@pytest.mark.parametrize(("text", "expected"), [
    ("cannot read '/srv/data sets/alice/x.json': gone", "cannot read '…/x.json': gone"),
    ("model /srv/alice/llama: cannot be loaded", "model …/llama: cannot be loaded"),
    ("C:\\Users\\Alice\\run\\x.json is missing", "…/x.json is missing"),
    ("see ../../alice/data/x.tsv", "see …/x.tsv"),
    ("/tmp", "…"),
    ("data:/srv/alice/x.tsv is gone", "data:…/x.tsv is gone"),
    ("see file:///srv/alice/x.json", "see file:…/x.json"),
    ("1/2 of it, and/or a / b; 5 updates/s; https://hf.co/a/b", "1/2 of it, and/or a / b; 5 updates/s; https://hf.co/a/b"),
    ("harmless-base/train.jsonl.gz, row 3", "harmless-base/train.jsonl.gz, row 3"),
])
def test_messages_are_kept_without_places(monkeypatch, text, expected):
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    assert without_places(text) == expected


def test_home_and_working_folder_are_cut_even_with_spaces_in_their_names(monkeypatch, tmp_path):
    home = tmp_path / "Alice Smith"
    (home / "my work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "my work")
    text = without_places(f"{home}/my work/out/x.json and {home}/key.txt and {home}")
    assert text == "…/x.json and …/key.txt and …"


def test_replacing_the_data_folder_changes_nothing_that_is_stored(toy_config):
    moved = replace(toy_config, data=replace(toy_config.data, folder="/srv/alice"))
    assert moved.as_dict() == toy_config.as_dict()

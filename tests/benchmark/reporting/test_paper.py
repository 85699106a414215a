"""The figure and the table for a paper: of the chosen methods and metric, the same bytes each time."""

from __future__ import annotations

import shutil

import pytest

from benchmark.cli import main
from tests.benchmark.reporting.golden import make

HEADS = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(make.RUNS, tmp_path / "runs")
    return tmp_path / "runs"


def paper(folder, *options):
    assert main(["report", str(folder), "--paper", *options]) == 0
    return {path.name: path.read_bytes() for path in (folder / "paper").iterdir()}


@pytest.mark.parametrize("kind", HEADS)
def test_figure_and_table_of_every_task(kind, folder, capsys):
    files = paper(folder, "--x", "time", "--format", kind)
    assert sorted(files) == sorted(name for task in ("hh_rlhf", "wmt20_mlqe") for name in (
        f"reward_vs_time_{task}.{kind}", f"table_{task}.tex"))
    assert files[f"reward_vs_time_hh_rlhf.{kind}"].startswith(HEADS[kind])
    assert capsys.readouterr().out.count("paper/") == 4
    assert paper(folder, "--x", "time", "--format", kind) == files
    assert not (folder / "report").exists()


def test_methods_and_metric_are_those_that_were_asked_for(folder):
    files = paper(folder, "--methods", "rloo,mezo", "--metric", "gold", "--format", "svg")
    assert sorted(files) == ["gold_vs_compute_wmt20_mlqe.svg", "table_wmt20_mlqe.tex"]  # the other task has none
    drawn, table = files["gold_vs_compute_wmt20_mlqe.svg"].decode(), files["table_wmt20_mlqe.tex"].decode()
    assert "change in gold score [0–1, validation]" in drawn and "compute [million forward tokens]" in drawn
    for text in (drawn, table):
        assert "RLOO" in text and "MeZO" in text and "ZOPrO" not in text


@pytest.mark.parametrize(("options", "words"), [
    (["--methods", "zorpo"], "unknown method among the runs 'zorpo'. Did you mean zopro"),
    (["--metric", "gould"], "--metric gould: these runs do not all have it on any task. They have bleu"),
])
def test_what_is_not_there_is_named(options, words, folder, capsys):
    assert main(["report", str(folder), "--paper", *options]) == 2
    assert words in capsys.readouterr().err and not (folder / "paper").exists()

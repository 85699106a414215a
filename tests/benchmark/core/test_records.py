"""Records say what stands in a run directory: every key, in its order; and what must stand there."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from benchmark.core import records
from benchmark.core.errors import BenchmarkError
from benchmark.core.meter import Meter
from benchmark.core.records import FILES, Configuration, CurveRow, Environment, Record, Spent, Summary, UpdateRow
from benchmark.core.sections import BUDGET_KINDS
from benchmark.reporting.read import schema
from benchmark.run import store
from benchmark.run.metrics import METRICS
from tests.benchmark.core.directory import unlike
from tests.benchmark.reporting.golden import make

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
COMMITTED = [*sorted((REFERENCE / "tiny_ablation").glob("*__s*__*")), *sorted((REFERENCE / "tiny").glob("*__s0__*"))]
SPENT = {"forward_tokens": 10.0, "seconds": 1.0, "completions": 4, "updates": 1}
SPENT_ROW = {"update": 1, "iteration": 0, "reward": 0.5, "loss": 2.0, "mine": 3.0, "lr": 0.1, "spent": SPENT}
CLASSES = [cls for cls in vars(records).values()
           if isinstance(cls, type) and is_dataclass(cls) and issubclass(cls, Record) and cls is not Record]


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_older_runs_are_what_the_records_say(folder):
    assert unlike(folder, whole=False) == []


def test_every_field_has_a_help_line():
    assert len(CLASSES) >= len(FILES)
    assert [(cls.__name__, spec.name) for cls in CLASSES for spec in fields(cls)
            if not spec.metadata["help"].strip() or "|" in spec.metadata["help"]] == []
    assert [key for cls in CLASSES for spec in fields(cls) for key, (_, help) in spec.metadata["keys"].items()
            if not help.strip()] == []


def test_records_know_the_files_ledgers_budgets_and_metrics_of_the_harness():
    assert {*store.FILES, "summary.json", "error.json"} == FILES.keys()
    assert [spec.name for spec in fields(Spent)] == list(Meter().spent()) and set(BUDGET_KINDS) < set(Meter().spent())
    assert records.METRICS.keys() >= METRICS.keys()


def test_figures_stand_in_the_row_in_the_order_in_which_they_came():
    row = schema.read(UpdateRow, SPENT_ROW, "updates.jsonl, line 1")
    assert row.figures == {"reward": 0.5, "loss": 2.0, "mine": 3.0, "lr": 0.1}
    assert json.dumps(row.as_row()) == json.dumps(SPENT_ROW)
    figures = {"loss": 2.0, "lr": 0.1}
    made = UpdateRow(update=2, iteration=0, figures=figures, spent=Spent(**SPENT)).as_row()
    assert list(made) == ["update", "iteration", "loss", "lr", "spent"] and made["spent"] == SPENT


def read_summary(**values):
    return schema.read(Summary, {"status": "done", **values}, "RUN/summary.json")


def test_what_is_missing_from_a_file_is_empty_or_none():
    summary = read_summary(final=None, health={}, spent=None)
    assert (summary.final, summary.health, summary.initial, summary.warnings) == (None, None, {}, ())
    assert (summary.spent.seconds, summary.resumed.count) == (None, None)
    environment = schema.read(Environment, {}, "RUN/environment.json")
    assert (environment.data.source, environment.packages, environment.preparation) == (None, {}, None)


@pytest.mark.parametrize(("values", "words"), [
    ({"status": None}, "status is missing"),
    ({"status": 1}, "status is not a text"),
    ({"spent": []}, "spent is not an object"),
    ({"spent": {"seconds": "1"}}, "spent.seconds is not a number below 10³⁰"),
    ({"spent": {"seconds": float("nan")}}, "spent.seconds is not a number"),
    ({"spent": {"seconds": True}}, "spent.seconds is not a number"),
    ({"spent": {"updates": 1.5}}, "spent.updates is not a whole number"),
    ({"spent": {"updates": 10**400}}, "spent.updates is not a whole number"),
    ({"ledgers": {"log": None}}, "ledgers.log is missing"),
    ({"warnings": {}}, "warnings is not a list"),
    ({"warnings": ["a", 1]}, "warnings is not a text"),
    ({"final": {"test": 1}}, "final.test is not an object"),
])
def test_what_is_wrong_in_a_file_is_named(values, words):
    with pytest.raises(BenchmarkError, match=rf"^RUN/summary.json: {words}.*\. Remove that run directory and run it"):
        read_summary(**values)


@pytest.mark.parametrize(("cls", "value", "words"), [
    (Configuration, {"config": {}}, "run.task is missing"),
    (Configuration, {"run": {"task": "t", "method": "m", "seed": 0, "budget": {"kind": "x"}}}, "run.budget.limit is"),
    (Configuration, {"run": [], "config": {}}, "run is not an object"),
    (Environment, {"preparation": {"held_out_pairs": 1}}, "preparation.reward_accuracy is missing"),
    (CurveRow, {"fraction": 0.0}, "split is missing"),
    (UpdateRow, SPENT_ROW | {"mine": "3"}, "mine is not a number"),
])
def test_what_every_file_has_is_there_and_of_its_kind(cls, value, words):
    with pytest.raises(BenchmarkError, match=words):
        schema.read(cls, value, "file")


def test_a_line_is_named_by_its_number(tmp_path):
    run = make.write_run(tmp_path, "hh_rlhf", "zopro", 0)
    path = run / "curve.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    for broken, words in ((lines[1][:-3], "cannot be read"), ("[]", "not a JSON object"), ("{}", "split is missing")):
        path.write_text("\n".join([lines[0], "", broken]), encoding="utf-8")
        with pytest.raises(BenchmarkError, match=rf"{run.name}/curve.jsonl, line 3: .*{words}"):
            schema.read_lines(CurveRow, path)
    shutil.rmtree(run)
    assert schema.read_lines(CurveRow, path) == ()

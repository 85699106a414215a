"""Finished runs as tidy tables: a row an observation, under the names of the records' fields; and as files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import benchmark
from benchmark import read_runs
from benchmark.cli import main
from benchmark.core.errors import BenchmarkError
from tests.benchmark.reporting.golden import make

ABLATION = Path(__file__).parents[3] / "results" / "reference" / "tiny_ablation"


@pytest.fixture(scope="module")
def runs():
    return read_runs(make.RUNS)


def test_a_row_an_evaluation(runs):
    frame = runs.curves()
    # 10 runs, each with 3 validation and 2 test evaluations
    assert len(frame) == 50 and set(frame["split"]) == {"validation", "test"}
    one = frame.query("method == 'rloo' and task == 'hh_rlhf' and seed == 0 and split == 'validation'")
    assert one["metrics.reward"].tolist() == [0.0, 0.8, 1.0] and one["spent.seconds"].tolist() == [0.0, 5.0, 10.0]
    diverged = frame[(frame.method == "mezo") & (frame.task == "wmt20_mlqe") & (frame.seed == 1)]
    assert np.isnan(diverged["metrics.reward"].iloc[-1])
    assert frame["metrics.reward"].dtype == np.float64


def test_a_row_a_run(runs):
    frame = runs.summaries().set_index(["task", "method", "seed"])
    assert len(frame) == 10 and frame.index.is_unique
    one = frame.loc["hh_rlhf", "rloo", 0]
    assert one["status"] == "done" and one["reward_increase"] == pytest.approx(0.9)
    assert one["final.test.reward"] - one["initial.test.reward"] == pytest.approx(0.9)
    assert one["hyperparameters.epochs"] == 1 and one["spent.forward_tokens"] == 2e6 and one["protocol"] == "1.0"
    lost = frame.loc["wmt20_mlqe", "mezo", 1]
    assert lost["status"] == "diverged" and np.isnan(lost["reward_increase"]) and "below noise" in lost["warnings"]


def test_a_row_an_update_of_runs_that_kept_their_log(runs):
    frame = read_runs(ABLATION).updates()
    logs = {path.parent.name: len(path.read_text().splitlines()) for path in ABLATION.glob("*/updates.jsonl")}
    assert logs and frame.groupby("run").size().to_dict() == logs
    one = frame[frame.run == frame.run.iloc[0]]
    assert {"loss", "spent.seconds", "update"} <= set(frame) and one["update"].is_monotonic_increasing
    assert runs.updates().empty


def test_there_is_one_public_name_and_the_runs_are_typed(runs):
    assert {name for name in dir(benchmark) if name in benchmark.__all__} == {"read_runs", "__version__"}
    run = runs.results.of("hh_rlhf", "zopro")[0]
    assert run.summary.spent.updates == 20 and runs.results.gaps()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_exported_tables_are_the_same(kind, tmp_path, capsys):
    folder = tmp_path / "runs"
    shutil.copytree(make.RUNS, folder)
    log = next(ABLATION.glob("*zopro__s0*/updates.jsonl"))
    shutil.copy(log, next(folder.glob("hh_rlhf__zopro__s0__*")))
    for method, value in (("rloo", "all"), ("mezo", 3)):  # a column of two types
        for path in folder.glob(f"*__{method}__*/config.json"):
            stored = json.loads(path.read_text())
            stored["config"]["method"]["window"] = value
            path.write_text(json.dumps(stored))
    assert main(["export", str(folder), "--to", kind]) == 0
    assert capsys.readouterr().out.count(f".{kind}\n") == 3
    runs = read_runs(folder)
    for name, table in (("curves", runs.curves()), ("updates", runs.updates()), ("summaries", runs.summaries())):
        path = folder / "export" / f"{name}.{kind}"
        read = pd.read_csv(path) if kind == "csv" else pd.read_parquet(path)
        assert list(read) == list(table) and len(read) == len(table) > 0
        if name == "summaries":
            assert set(read["hyperparameters.window"].dropna()) == {"all", "3"}
        numbers = table.select_dtypes("number")
        pd.testing.assert_frame_equal(read[list(numbers)], numbers, check_dtype=False)


def test_no_text_of_an_export_is_a_formula(tmp_path):
    folder = tmp_path / "runs"
    shutil.copytree(make.RUNS, folder)
    path = next(folder.glob("hh_rlhf__mezo__s0__*")) / "summary.json"
    path.write_text(path.read_text().replace("below noise: in", "=1+1; in"))
    assert main(["export", str(folder)]) == 0
    assert "'=1+1; in" in (folder / "export" / "summaries.csv").read_text()


def test_what_is_no_result_folder_is_named(tmp_path):
    with pytest.raises(BenchmarkError, match="is not a folder"):
        read_runs(tmp_path / "none")
    assert main(["export", str(tmp_path / "none")]) == 2

"""What the bench makes of its figures: rounds, failures, ratios, slopes, tables. No timings."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from baselines.registry import METHODS
from benchmark.cli import main
from benchmark.studies.speed import analysis, driver, plan, tables
from benchmark.studies.speed.child import answer
from benchmark.studies.speed.plan import ALL, NORM, QUERIES, WARM_START
from tests.benchmark.studies.speed.conftest import figure

# TRL and peft still ask transformers for this property by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


# Processes


def test_a_child_answers_in_a_process_of_its_own(config):
    found = driver.run_child(figure(config, "floors", "forward"), memory=False)
    assert set(found) == {"result"} and found["result"]["seconds"] > 0, found


def test_a_figure_that_fails_is_named_without_a_path(config, monkeypatch):
    def broken(item):
        raise RuntimeError(f"no such file: {__file__}")

    monkeypatch.setattr("benchmark.studies.speed.measure.time_figure", broken)
    found = answer({"figure": figure(config, "methods", "rloo").as_dict(), "memory": False})
    assert found == {"failed": "RuntimeError: no such file: …/test_results.py"}


def test_rounds_are_interleaved_and_a_failure_is_not_repeated(config):
    figures = [figure(config, "methods", name) for name in ("rloo", "dpo")] + [figure(config, "peers", "trl-dpo")]
    asked = []

    def child(item, memory):
        asked.append((item.name, memory))
        return {"failed": "no"} if item.name == "dpo" else {"result": {"seconds": 1.0, "tensors": {"update": 2.0}}}

    found = driver.measure_all(figures, 2, lambda line: None, child)
    assert asked == [("rloo", False), ("dpo", False), ("trl-dpo", False), ("rloo", False), ("trl-dpo", False),
                     ("rloo", True)]
    assert found["methods/dpo"]["failed"] == "no" and len(found["peers/trl-dpo"]["repeats"]) == 2


# What follows from the figures


def entry(part, name, rounds, variant="", memory=None):
    """A figure of 64 sequences; a round is seconds or a whole result."""
    results = [value if isinstance(value, dict) else {"seconds": value} for value in rounds]
    return {"part": part, "name": name, "variant": variant, "point": "", "sequences": 64, "repeats": results,
            "memory": memory, "failed": None}


def method_result(seconds, other, update=1.0, floor=1.0):
    return {"seconds": seconds, "rollout": seconds - update, "update": update, "update_median": update, "floor": floor,
            "parts": {"generate": seconds - other, "other_rollout": other / 2, "other_update": other / 2},
            "tokens": {"rollout": 300.0, "update": 200.0}, "batch_tokens": 100,
            "part_tokens": {"generate": 300.0, "forward": 200.0}}


def test_ratios_are_those_of_the_rounds():
    peaks = {"tensors": {"rollout": 9.0, "update": 12.0, "inference": 11.0}, "system": None, "policy": 9.0,
             "trained": 0.25}
    figures = {
        "methods/rloo": entry("methods", "rloo", [method_result(2.0, 0.02), method_result(4.0, 0.2)]),
        "methods/ppo": entry("methods", "ppo", [method_result(2.5, 0.0), method_result(8.0, 0.0)]),
        "methods/mezo": entry("methods", "mezo", [method_result(3.0, 0, 2.1, 2.0), method_result(3.0, 0, 3.0, 2.0)],
                              memory=peaks),
        "methods/mezo/all": entry("methods", "mezo", [method_result(3.0, 0, 2.2, 2.0)], ALL, peaks),
        "methods/mezo/final-norm": entry("methods", "mezo", [method_result(3.0, 0, 0.8, 2.0)], NORM, peaks),
        "methods/mezo/final-norm-8-queries": entry("methods", "mezo", [method_result(9.0, 0, 4.8, 2.0)], QUERIES,
                                                   peaks),
        "peers/trl-rloo": entry("peers", "trl-rloo", [5.0, 6.0]),
        "peers/trl-dpo": entry("peers", "trl-dpo", [5.0, 6.0]),
    }
    rows = {row["what"]: row for row in analysis.ratios(figures)}
    rloo = rows["RLOO: samples per second, against TRL's"]
    assert rloo["value"] == [2.0, 1.5, 2.5] and rloo["reached"] and not rloo["clear"] and rloo["limit"] == 2
    ppo = rows["PPO: samples per second, against RLOO's"]
    assert ppo["value"] == pytest.approx([0.65, 0.5, 0.8]) and not ppo["reached"] and not ppo["clear"]
    share = rows["RLOO: overhead, share of an update"]
    assert share["value"] == pytest.approx([0.03, 0.01, 0.05])
    update = rows["MeZO: update, against two bare forwards on the same rows"]
    assert update["value"] == pytest.approx([1.275, 1.05, 1.5]) and update["limit"] == 1.05
    whole = rows["MeZO, all parameters: update, against two bare forwards on the same rows"]
    assert whole["value"] == pytest.approx([1.1] * 3) and whole["reached"] and whole["limit"] == 1.15
    norm = rows["MeZO, final norm: update, against two bare forwards on the same rows"]
    assert norm["value"] == pytest.approx([0.4] * 3) and norm["reached"] and norm["limit"] == 0.5
    queries = rows["MeZO, final norm: update with 8 queries, against one"]
    assert queries["value"] == pytest.approx([6.0] * 3) and not queries["reached"] and queries["limit"] == 5
    assert not any("8 queries: update" in what or "final norm: peak" in what for what in rows)
    copies = rows["MeZO: peak memory of an update above inference, copies of the adapter"]
    assert copies["value"][0] == 4.0 and not copies["reached"]
    ratio = rows["MeZO, all parameters: peak memory of an update, against inference"]
    assert ratio["value"][0] == pytest.approx(21 / 20) and ratio["reached"]
    assert not any("Online DPO" in what or "DPO: samples" in what for what in rows)  # nothing to divide by
    assert not any("RLOO: update" in what or "RLOO: peak" in what for what in rows)


def test_a_failed_figure_counts_for_nothing():
    figures = {"methods/rloo": entry("methods", "rloo", [method_result(2.0, 0.0)]),
               "peers/trl-rloo": {**entry("peers", "trl-rloo", [5.0]), "failed": "died"}}
    assert all("TRL" not in row["what"] for row in analysis.ratios(figures))


def test_predicted_cost_stands_beside_the_measured_one_and_a_gap_is_explained():
    figures = {"methods/mezo": entry("methods", "mezo", [method_result(3.0, 0.1, 1.0)]),
               "floors/forward": entry("floors", "forward", [0.5])}
    (row,) = analysis.costs(figures)
    assert row["predicted"] == {"rollout": 3.0, "update": 2.0}
    assert row["measured"]["seconds"][0] == 6.0 and row["difference"] == pytest.approx(0.2)
    assert row["why"] == [["generate", pytest.approx(5.8), 3.0]]
    figures["floors/forward"]["repeats"][0]["seconds"] = 0.6
    assert analysis.costs(figures)[0]["why"] == []


def test_slopes_are_exponents():
    assert analysis.slope([1, 2, 4, 8], [3 * x**1.5 for x in (1, 2, 4, 8)]) == pytest.approx(1.5)
    assert analysis.slope([4], [1.0]) is None
    figures = {}
    axes = {"rank": [[2, "rank=2"], [8, "base"], [0, "full"]], "depth": [[2, "base"], [4, "depth=4"]]}
    for point, size in (("rank=2", 2), ("base", 8), ("full", 100), ("depth=4", 16)):
        result = {"seconds": 5.0 * size, "update": 7.0 * size**0.5}
        figures[f"sweeps/{point}/mezo"] = entry("sweeps", "mezo", [result])
    rank, depth = analysis.sweeps(figures, axes)
    assert (rank["slope"], rank["update_slope"]) == (pytest.approx(1.0), pytest.approx(0.5))
    assert [point[0] for point in rank["points"]] == [2, 8] and rank["all"][1][0] == 500.0
    assert depth["slope"] == pytest.approx(1.0) and depth["all"] is None


def test_committed_figures_are_still_read():
    """Some call the point with all parameters trained rank=0."""
    for stored in (Path(__file__).parents[4] / "results" / "hardware").rglob("*.json"):
        found = json.loads(stored.read_text(encoding="utf-8"))
        assert json.loads(json.dumps(analysis.analysed(found))) == found
        assert tables.to_markdown(found) == stored.with_suffix(".md").read_text(encoding="utf-8")
        assert stored.stem != "sweeps" or all(row["all"] for row in found["sweeps"] if row["axis"] == "rank")


def made_up_child(item, memory):
    """A plausible answer for every figure; RLOO's warm start dies."""
    if memory:
        peaks = {"rollout": 5.0, "update": 6.0, "inference": 5.5}
        return {"result": {"tensors": peaks, "system": None, "policy": 4.0, "trained": 0.2}}
    if item.variant == WARM_START:
        return {"failed": "out of memory"}
    seconds = 0.1 * item.config.loop.sequences_per_update + item.config.model.layers
    return {"result": method_result(seconds, 0.1)}


def test_the_command_writes_tables_charts_and_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(driver.bench, "__defaults__", (made_up_child,))
    arguments = ["bench", "--repeats", "2", "--threads", "1", "--device", "cpu", "--what", "methods,floors,sweeps"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1  # one figure failed
    output = capsys.readouterr()
    assert "FAILED methods/zopro/warm-start: out of memory" in output.err and "bench_sweeps.png" in output.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"bench.json", "bench.md", "bench.png", "bench.svg", "bench_sweeps.png", "bench_sweeps.svg"}
    page = (tmp_path / "out" / "bench.md").read_text()
    for words in ("## Against targets", "| MeZO, all parameters |", "## Booked and measured cost", "| LoRA rank |",
                  "## Not measured", "out of memory"):
        assert words in page, words
    stored = (tmp_path / "out" / "bench.json").read_text()
    assert json.loads(stored)["environment"]["threads"] == 1 and json.loads(stored)["sweeps"]
    for secret in (str(tmp_path), str(Path(__file__).parents[4]), os.uname().nodename):
        assert secret not in stored and secret not in page


def test_json_is_printed_and_nothing_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(driver.bench, "__defaults__", (made_up_child,))
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--repeats", "1", "--method", "mezo", "--what", "methods", "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    variants = ("", "/all", "/final-norm", "/final-norm-8-queries")
    assert set(found["figures"]) == {f"methods/mezo{variant}" for variant in variants} and not list(tmp_path.iterdir())


def test_every_method_of_the_registry_can_be_asked_for(config):
    figures, _ = plan.make_figures(config, "tiny", ["methods"], list(METHODS))
    assert {item.name for item in figures} == set(METHODS)

"""A sweep: its points, what it says of half of RLOO's gain, and that points which differ in more are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmark.core import statistics
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.sections import Budget
from benchmark.plan.resolve import load_profile
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import Ignored
from benchmark.studies import sweep
from benchmark.studies.sweep import analysis, figures, points, tables
from benchmark.studies.sweep.points import SweepPoint
from tests.benchmark.reporting.made import finished
from tests.benchmark.reporting.test_compare import write


@pytest.mark.parametrize(("text", "limit"), [("forward_tokens=0.25M", 250_000), ("forward_tokens=16M", 16_000_000),
                                             ("updates=1_5k", 15_000), ("seconds=0.5", 0.5), ("updates=1e3", 1000)])
def test_a_budget_is_read_with_its_suffix(text, limit):
    assert Budget.parse(text).limit == limit


@pytest.mark.parametrize("text", ["0.25M", "forward_tokens=M", "forward_tokens=4m", "forward_tokens=-1M",
                                  "forward_tokens=1kM", "forward_tokens=infk"])
def test_no_other_suffix_is_read(text):
    with pytest.raises(ConfigError, match="--budgets .*0.3M"):
        Budget.parse(text, "--budgets")


def test_budgets_are_named_in_few_characters():
    assert [points.amount(limit) for limit in (250_000, 16e6, 12_000, 60, 0.5, 1_234_567)] == [
        "0.25M", "16M", "12k", "60", "0.5", "1.234567M"]


def test_points_are_every_budget_of_every_dimension_and_change_nothing_else():
    config = load_profile("tiny")
    found = points.settings(config, "1M,0.25M,1_000_000", "lora-8,final-norm")
    assert [point.folder for point, _ in found] == ["final-norm-0.25M", "final-norm-1M", "lora-8-0.25M", "lora-8-1M"]
    for point, varied in found:
        assert varied.adapter.kind == ("norms" if point.dimension == "final-norm" else "lora")
        assert varied.budget.kind == "forward_tokens" and varied.budget.limit in (250_000, 1e6)
        assert replace(varied, adapter=config.adapter, budget=config.budget, tasks=config.tasks) == config
    (alone, same), = points.settings(config, "updates=3", None)
    assert (alone, same.budget) == (SweepPoint("3"), Budget("updates", 3)) and same.adapter == config.adapter
    (alone, same), = points.settings(config, None, "norms")
    assert alone == SweepPoint("norms", "norms") and same.budget == config.budget
    with pytest.raises(ConfigError, match="Did you mean"):
        points.settings(config, None, "lora8")


@pytest.mark.parametrize(("dimension", "d"), [("final-norm", 192), ("norms", 960), ("lora-1-qv", 1280),
                                              ("lora-8", 54_272), ("full", None)])
def test_dimensions_train_what_their_names_say(dimension, d):
    from benchmark.grid.estimate import parameters

    (_, config), = points.settings(load_profile("tiny"), None, dimension)
    size, trained = parameters(config)
    assert trained == (d or size)


def test_the_file_keeps_earlier_points_and_leads_nowhere_else(tmp_path):
    points.add(tmp_path, [SweepPoint("1M"), SweepPoint("norms-1M", "norms")])
    points.add(tmp_path, [SweepPoint("4M"), SweepPoint("1M")])
    assert points.read(tmp_path) == [SweepPoint("1M"), SweepPoint("norms-1M", "norms"), SweepPoint("4M")]
    (tmp_path / "sweep.json").write_text(json.dumps({"points": [{"folder": "../else", "dimension": ""}]}))
    with pytest.raises(BenchmarkError, match=r"sweep.json, folder .*not a plain name"):
        points.read(tmp_path)
    (tmp_path / "sweep.json").write_text('{"points": 3}')
    with pytest.raises(BenchmarkError, match="sweep.json: points is not a list"):
        points.read(tmp_path)


def test_a_folder_with_runs_of_no_sweep_is_no_sweep(tmp_path):
    (tmp_path / "wmt20_mlqe__rloo__s0__00000000").mkdir()
    with pytest.raises(ConfigError, match="belong to no sweep"):
        points.add(tmp_path, [SweepPoint("1M")])


def run(method, seed, ends, budget=1000, status="done", **config):
    """A run whose validation reward rises along ``ends`` over its budget."""
    curve = [{"metrics": {"reward": height}, "fraction": i / (len(ends) - 1),
              "spent": {"forward_tokens": budget * i / (len(ends) - 1)}} for i, height in enumerate(ends)]
    test = {"reward": ends[-1], "gold": 0.5}
    return finished("toy", method, seed, {"status": status, "initial": {"test": {"reward": ends[0], "gold": 0.4}},
                                          "final": {"test": test}, "trained_parameters": 7}, curve, config=config,
                    budget={"kind": "forward_tokens", "limit": budget})


def found(*by_point):
    return [(SweepPoint(f"p{i}"), Results(tuple(runs), (), ("rloo", "mezo"))) for i, runs in enumerate(by_point)]


def halves(*by_point):
    return {half.cell.method: half for half in analysis.halves(analysis.cells(found(*by_point)))}


RLOO = [run("rloo", 0, (1.0, 1.3, 1.9)), run("rloo", 1, (0.0, 0.5, 1.1))]  # +1 ± 0.1, half way at +0.5 = 555.6


def test_half_of_rloos_gain_is_read_along_the_mean_curve():
    got = halves([*RLOO, run("mezo", 0, (1.0, 1.0, 1.6)), run("mezo", 1, (0.0, 0.0, 0.6))])
    assert got["rloo"].target == pytest.approx(0.5) and got["rloo"].gain == pytest.approx(1.0)
    assert got["rloo"].error == pytest.approx(0.1)
    assert got["rloo"].tokens == pytest.approx(500 + 500 * 0.1 / 0.6)  # mean curve: 0, 0.4, 1.0
    assert got["mezo"].tokens == pytest.approx(500 + 500 * 0.5 / 0.6) and got["mezo"].word == ""


def test_of_several_budgets_the_least_counts_and_the_largest_sets_the_gain():
    large = [run(r.method, r.seed, (0.0, 1.0, 2.0), 4000) for r in RLOO]
    small = [run("mezo", s, (0.0, 1.0, 1.0), 1000) for s in (0, 1)]
    got = halves([*RLOO, *small], [*large, *(run("mezo", s, (0.0, 0.2, 0.4), 4000) for s in (0, 1))])
    assert got["rloo"].target == pytest.approx(1.0) and got["mezo"].tokens == pytest.approx(500)
    assert got["mezo"].largest == pytest.approx(4000) and got["rloo"].tokens == pytest.approx(1000)


@pytest.mark.parametrize(("ends", "word"), [
    (((0.0, 0.1, 0.2), (0.0, 0.1, 0.2)), "not reached"),
    (((0.0, 0.1, 0.9), (0.0, 0.1, 0.3)), "not powered"),  # 0.6 ± 0.3: two of them are more than 0.5
    (((0.0, 0.1, 0.2), (0.0, 0.1, -0.4)), "not powered"),
])
def test_what_is_not_reached_is_told_from_what_cannot_be_seen(ends, word):
    got = halves([*RLOO, *(run("mezo", seed, each) for seed, each in enumerate(ends))])
    assert (got["mezo"].word, got["mezo"].tokens) == (word, None)


def test_the_standard_error_of_a_single_run_is_that_of_its_prompts():
    assert statistics.mean_and_error([1.0], [0.2]) == (1.0, 0.2) and statistics.mean_and_error([1.0]) == (1.0, None)
    assert statistics.mean_and_error([1.0, 1.0], [0.3, 0.4]) == (1.0, pytest.approx(0.25))  # they agree by chance
    assert statistics.mean_and_error([0.0, 2.0], [0.3, None]) == (1.0, pytest.approx(1.0))
    for error, word in ((0.2, "not reached"), (0.3, "not powered")):
        ours = run("mezo", 0, (0.0, 0.1, 0.2))
        ours.curve[-1].metrics["reward_se"] = error
        got = halves([RLOO[0], ours])["mezo"]  # half of +0.9
        assert (got.word, got.error) == (word, error)


def test_without_a_gain_of_rloo_nothing_is_asked():
    falling = [run("rloo", seed, (1.0, 0.9, 0.8)) for seed in (0, 1)]
    assert halves([*falling, *(run("mezo", s, (0.0, 1.0, 1.0)) for s in (0, 1))])["mezo"].word == "no gain of RLOO"
    apart = [run("rloo", 0, (0.0, 0.5, 1.0)), run("rloo", 1, (0.0, 0.0, 0.1))]
    assert {half.word for half in halves(apart).values()} == {"not powered"}
    assert halves([run("mezo", 0, (0.0, 0.5, 1.0))]) == {}


def test_a_diverged_run_is_a_word_at_its_budget():
    lost = [run("mezo", 0, (0.0, 2.0, 2.0)), run("mezo", 1, (0.0, 2.0, 2.0), status="diverged")]
    points_ = found([*RLOO, *lost])
    every = analysis.cells(points_)
    assert {half.cell.method: half.word for half in analysis.halves(every)} == {"rloo": "", "mezo": "diverged (1 of 2)"}
    rows = {row[2]: row[3:] for row in tables.points(every).rows}
    assert rows["MeZO"] == ("diverged (1 of 2)", "diverged (1 of 2)", "2")
    assert rows["RLOO"] == ("+1.000 ± 0.100", "+0.100 ± 0.000", "2")


def test_tables_and_figures_hold_every_cell(tmp_path):
    small = [run(r.method, r.seed, (0.0, 0.1, 0.2), 250_000) for r in RLOO]
    every = analysis.cells(found(small, [*RLOO, *(run("mezo", s, (0.0, 0.1, 0.2)) for s in (0, 1))]))
    sheet = tables.points(every)
    assert [row[2] for row in sheet.rows] == ["RLOO", "MeZO"] and sheet.reduced
    assert [column for column in sheet.header if "reward" in column] == [
        "reward increase at 1k [r₀ score]", "reward increase at 0.25M [r₀ score]"]
    assert sheet.rows[1][3:5] == ("+0.200 ± 0.000", "–") and sheet.rows[0][1] == "d = 7"
    written = figures.write(every, analysis.halves(every), tmp_path)
    assert [path.name for path in written] == ["sweep.png", "sweep.svg"]
    assert "RLOO" in written[1].read_text() and "0.25M" in written[1].read_text()


def test_points_that_differ_in_more_than_budget_and_adapter_are_refused():
    def at(budget, **config):
        return [run("rloo", 0, (0.0, 1.0), budget, **config)]

    analysis.refuse_mixtures(found(at(1, adapter={"kind": "norms"}), at(2, adapter={"kind": "full"})))
    with pytest.raises(BenchmarkError, match=r"p1 and p0 differ in loop.iterations on toy"):
        analysis.refuse_mixtures(found(at(1, loop={"iterations": 2}), at(2, loop={"iterations": 4})))


def test_a_point_without_runs_and_a_run_that_is_missing_are_named(tmp_path, monkeypatch):
    points.add(tmp_path, [SweepPoint("p0"), SweepPoint("4M")])
    (point, results), = found([*RLOO, run("mezo", 0, (0.0, 0.1))])
    results = replace(results, ignored=(Ignored("toy__mezo__s1__0", "failed", "out of memory"),))
    monkeypatch.setattr(analysis, "read", lambda *_, **__: ([(point, results)], ["4M"]))
    sweep.write_report(tmp_path, [], {})
    page = (tmp_path / "report" / "report.md").read_text()
    assert "p0: toy / mezo: seed 1: no finished run" in page and "out of memory" in page
    assert "4M: no finished run" in page


def test_a_sweep_without_a_finished_run_says_so(tmp_path):
    points.add(tmp_path, [SweepPoint("1M")])
    with pytest.raises(BenchmarkError, match="no finished run in any folder"):
        sweep.write_report(tmp_path, [], {})


def test_a_command_of_one_point_reports_all_points(tmp_path):
    every = [SweepPoint("1M"), SweepPoint("2M"), SweepPoint("4M")]
    for method, folder, budget in (("rloo", "1M", 1e6), ("dpo", "1M", 1e6), ("rloo", "2M", 2e6)):
        write(tmp_path / folder, method, budget=budget)
    write(tmp_path / "2M", "dpo", budget=5.0)  # cannot share a table with what was there before
    own = [path.name for path in (tmp_path / "1M").glob("*dpo*")]
    with pytest.raises(BenchmarkError, match="mix budgets"):
        analysis.read(tmp_path, every)
    got, empty = analysis.read(tmp_path, every, {"1M": own}, method_order=["rloo", "dpo"])
    assert [(point.folder, results.methods) for point, results in got] == [("1M", ["rloo", "dpo"]), ("2M", ["dpo"])]
    assert empty == ["4M"]

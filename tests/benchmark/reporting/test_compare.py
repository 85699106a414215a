"""``compare``: verdicts, intervals and differences of hand-made result folders whose answers are known."""

from __future__ import annotations

import csv
import json
import math

import pytest

from benchmark.cli import main
from benchmark.core.errors import BenchmarkError
from benchmark.reporting.pages import comparison
from benchmark.reporting.tables.comparison import compare

CONFIG = {"profile": "tiny", "evaluation": {"test_prompts": 96, "reference_increase": 0.5}, "loop": {"iterations": 4},
          "method": {"lr": 0.1}, "execution": {"workers": 2, "forward_batch": 64}, "data": {"source": "bundled"}}
ENVIRONMENT = {"commit": "1111111111ff", "dirty": False, "python": "3.11.0", "packages": {"torch": "2.0"},
               "hardware": {"cpu": "CPU"}, "device": "cpu", "workers": 2,
               "data": {"source": "bundled", "revision": "rows-1"}}


def write(folder, method="rloo", seed=0, gain=1.0, start=2.0, task="hh_rlhf", status="done", seconds=10.0, tokens=1e6,
          memory=100.0, middle=0.5, budget=1e6, protocol="1", config=None, environment=None):
    """One finished run: test reward from ``start`` to ``start + gain``; ``middle`` is a validation reward half-way."""
    run = folder / f"{task}__{method}__s{seed}__abc{seed}"
    run.mkdir(parents=True)
    identity = {"task": task, "method": method, "seed": seed, "hash": f"abc{seed}", "profile": "tiny",
                "protocol": protocol, "task_version": "1", "budget": {"kind": "forward_tokens", "limit": budget}}
    ends = {"initial": start, "final": start + gain}
    summary = {"status": status, "run": identity, "spent": {"seconds": seconds, "forward_tokens": tokens},
               "peak_memory_mib": {"optimisation": memory},
               **{when: {split: {"reward": value} for split in ("validation", "test")} for when, value in ends.items()}}
    curve = [{"split": split, "fraction": fraction, "update": 0, "iteration": 0, "metrics": {"reward": value},
              "spent": {"seconds": seconds * fraction, "forward_tokens": tokens * fraction}}
             for split, fraction, value in (("validation", 0.0, start), ("validation", 0.5, start + middle),
                                            ("validation", 1.0, start + gain), ("test", 1.0, start + gain))]
    (run / "config.json").write_text(json.dumps({"run": identity, "config": CONFIG | (config or {})}))
    (run / "environment.json").write_text(json.dumps(ENVIRONMENT | (environment or {})))
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in curve))


@pytest.fixture
def sets(tmp_path):
    """(folder A, folder B), both empty."""
    return tmp_path / "old", tmp_path / "new"


def only_cell(sets):
    (cell,) = compare(*sets).cells
    return cell


def test_identical_curves(sets):
    for folder, seconds in zip(sets, (10.0, 20.0), strict=True):
        for seed in range(3):
            write(folder, seed=seed, gain=1.0 + seed, seconds=seconds, tokens=1e6, memory=50 + 5 * seconds)
    result = compare(*sets)
    (cell,) = result.cells
    assert (cell.verdict, cell.how, cell.difference, cell.interval) == ("identical curves", "paired", 0, (0, 0))
    assert cell.ratios == pytest.approx((2.0, 1.0, 1.5))  # seconds, forward tokens, memory: B / A
    assert result.false_alarms() == (0, 0)  # an interval without width leaves nothing to chance


def test_one_changed_bit_in_a_validation_reward_is_not_identical(sets):
    for folder, middle in zip(sets, (0.5, math.nextafter(0.5, 1)), strict=True):
        write(folder, start=0.0), write(folder, start=0.0, seed=1, middle=middle)
    cell = only_cell(sets)
    assert (cell.verdict, cell.difference) == ("within the interval", 0)


def test_paired_difference_counts_where_seeds_vary_more_than_versions(sets):
    for seed in range(3):
        write(sets[0], seed=seed, gain=10.0 * seed)
        write(sets[1], seed=seed, gain=10.0 * seed + (0.25, 0.5, 0.75)[seed])
    cell = only_cell(sets)
    assert cell.how == "paired" and cell.verdict == "differs: B higher"
    assert cell.difference == pytest.approx(0.5) and cell.each == pytest.approx((0.25, 0.5, 0.75))
    # 1 in 27 resamples is the lowest seed three times: more than 2.5 %
    assert cell.interval == pytest.approx((0.25, 0.75))


def test_unpaired_where_starts_differ(sets):
    for seed in range(3):
        write(sets[0], seed=seed, gain=10.0 * seed)
        write(sets[1], seed=seed, gain=10.0 * seed + 0.5, start=2.0 + (1e-6 if seed == 2 else 0))
    cell = only_cell(sets)
    assert (cell.how, cell.verdict, cell.each) == ("unpaired: starts differ", "within the interval", ())
    # the interval of two means of {0, 10, 20} drawn independently, 0.5 apart; its ends are resample means, in thirds
    assert cell.difference == pytest.approx(0.5)
    assert cell.interval[0] < -10 and cell.interval[1] > 11


def test_starts_within_a_billionth_are_one_start(sets):
    for seed in range(2):
        write(sets[0], seed=seed)
        write(sets[1], seed=seed, start=2.0 + 5e-10, gain=0.5)
    assert only_cell(sets).how == "paired"
    assert only_cell(sets).verdict == "differs: B lower"


def test_unpaired_where_seeds_differ(sets):
    for seed in (0, 1):
        write(sets[0], seed=seed, gain=1.0)
    for seed in (1, 2, 3):
        write(sets[1], seed=seed, gain=1.5)
    result = compare(*sets)
    (cell,) = result.cells
    assert (cell.how, cell.verdict) == ("unpaired: 1 common seed", "differs: B higher")
    assert cell.interval == pytest.approx((0.5, 0.5))
    assert [(d.what, d.a, d.b, d.loud) for d in result.differences] == [("seeds", "0, 1", "1, 2, 3", False)]
    sheet = comparison.cells_sheet(result)
    assert dict(zip(sheet.header, sheet.rows[0], strict=True))["n [runs]"] == "2 in A, 3 in B"


def test_the_seeds_that_both_sets_have_are_paired(sets):
    for seed in (0, 1, 2, 3):
        write(sets[0], seed=seed, gain=10.0 * seed, seconds=10.0 + 90 * (seed == 0))
    for seed in (1, 2, 3, 7, 8):
        write(sets[1], seed=seed, gain=10.0 * seed + (0, 0.25, 0.5, 0.75, 0, 0, 0, -99, -99)[seed], seconds=20.0)
    result = compare(*sets)
    (cell,) = result.cells
    assert cell.how == "paired: seeds 1, 2, 3" and cell.each == pytest.approx((0.25, 0.5, 0.75))
    assert cell.means == pytest.approx((20.0, 20.5)) and cell.difference == pytest.approx(0.5)
    assert cell.verdict == "differs: B higher" and cell.ratios[0] == pytest.approx(2.0)
    row = dict(zip(comparison.cells_sheet(result).header, comparison.cells_sheet(result).rows[0], strict=True))
    assert (row["n [runs]"], row["n [pairs]"]) == ("4 in A, 5 in B", "3")
    assert "paired: seeds 1, 2, 3" in comparison.terminal(result)


def test_a_single_common_seed_pairs_where_a_set_has_no_other(sets):
    write(sets[0], seed=1)
    for seed in (0, 1):
        write(sets[1], seed=seed, gain=1.0 + seed)
    assert (only_cell(sets).how, only_cell(sets).difference) == ("paired: seeds 1", 1.0)


def test_words_for_what_has_no_difference(sets):
    for seed in range(2):
        write(sets[0], "rloo", seed), write(sets[1], "rloo", seed, status="diverged" if seed else "done")
        write(sets[0], "ppo", seed)
        write(sets[1], "dpo", seed)
        write(sets[0], "mezo", seed, status="diverged"), write(sets[1], "mezo", seed, status="diverged")
    write(sets[0], "zopro"), write(sets[1], "zopro", gain=5.0)
    result = compare(*sets, method_order=["zopro", "rloo"])
    assert {cell.method: cell.verdict for cell in result.cells} == {
        "zopro": "no interval (one seed)", "rloo": "diverged in B", "dpo": "only in B", "mezo": "diverged in A and B",
        "ppo": "only in A"}
    assert [cell.method for cell in result.cells][:2] == ["zopro", "rloo"]
    rows = {row[1]: row for row in comparison.cells_sheet(result).rows}
    assert rows["RLOO"][2:6] == ("+1.000", "diverged", "–", "–") and rows["RLOO"][7:10] == ("–", "–", "–")
    assert rows["ZOPrO"][4:6] == ("+4.000", "–")
    assert result.false_alarms() == (0, 0)
    assert "5 cells (task × method)" in comparison.summary(result)


def test_expected_false_alarms(sets):
    for method, gain in (("rloo", 0.1), ("ppo", 0.2)):
        for seed in range(3):
            write(sets[0], method, seed), write(sets[1], method, seed, gain=1.0 + gain * (seed - 1))
    nominal, likely = compare(*sets).false_alarms()
    assert nominal == pytest.approx(0.1)
    # Student's t with two degrees of freedom: P(|t| > x) = 1 − x / √(x² + 2), at x = 1.959964 · √(2/3), for two cells
    assert likely == pytest.approx(2 * (1 - 1.600305 / math.sqrt(1.600305**2 + 2)), rel=1e-5)


def test_expected_false_alarms_of_unpaired_cells(sets):
    for seed in range(2):
        write(sets[0], seed=seed, gain=float(seed)), write(sets[1], seed=seed, gain=float(seed), start=3.0)
    # two and two seeds: again two degrees of freedom, at x = 1.959964 · √(1/2)
    _, likely = compare(*sets).false_alarms()
    assert likely == pytest.approx(1 - 1.385904 / math.sqrt(1.385904**2 + 2), rel=1e-5)


@pytest.mark.parametrize(("changes", "what", "loud"), [
    ({"budget": 2e6}, "budget", True),
    ({"protocol": "2"}, "protocol", True),
    ({"environment": {"data": {"source": "bundled", "revision": "rows-2"}}}, "data revision", True),
    ({"config": {"evaluation": {"test_prompts": 10, "reference_increase": 0.5}}}, "evaluation.test_prompts", True),
    ({"config": {"evaluation": {"test_prompts": 96, "reference_increase": 0.7}}}, "evaluation.reference_increase",
     False),
    ({"config": {"loop": {"iterations": 4, "brand_new": 1}}}, "loop.brand_new", False),
    ({"config": {"execution": {"workers": 2, "forward_batch": 8}}}, "execution.forward_batch", False),
    ({"config": {"method": {"lr": 0.2}}}, "hyperparameter lr", False),
    ({"environment": {"commit": "2222222222ff"}}, "commit", False),
    ({"environment": {"packages": {"torch": "2.1"}}}, "package torch", False),
    ({"environment": {"hardware": {"cpu": "Another CPU"}}}, "hardware", False),
    ({"environment": {"workers": 1}}, "workers", False),
])
def test_what_else_differs(sets, changes, what, loud):
    write(sets[0])
    write(sets[1], **changes)
    result = compare(*sets)
    assert [(d.what, d.loud) for d in result.differences] == [(what, loud)]
    assert result.warning() == (f"not the same measurement: {what}" if loud else "")


def test_difference_names_the_tasks_it_holds_for(sets):
    for task in ("hh_rlhf", "wmt20_mlqe"):
        write(sets[0], task=task)
        write(sets[1], task=task, budget=1e6 if task == "hh_rlhf" else 5e5)
    (found,) = compare(*sets).differences
    assert (found.what, found.where, found.a, found.b) == (
        "budget", "WMT20 MLQE en-de", "1,000,000 forward tokens", "500,000 forward tokens")


def test_sets_without_a_common_task_are_not_the_same_measurement(sets):
    write(sets[0], task="hh_rlhf")
    write(sets[1], task="wmt20_mlqe")
    result = compare(*sets)
    assert result.warning() == "not the same measurement: tasks"
    assert [cell.verdict for cell in result.cells] == ["only in A", "only in B"]


def test_a_further_task_in_one_set_changes_nothing_about_the_others(sets):
    for folder in sets:
        write(folder)
    write(sets[1], task="wmt20_mlqe")
    result = compare(*sets)
    assert result.warning() == ""
    assert [(d.what, d.a, d.b) for d in result.differences] == [("tasks", "–", "also WMT20 MLQE en-de")]


def test_the_two_sets_are_named_by_what_tells_them_apart(tmp_path):
    for parent in ("x", "y"):
        write(tmp_path / parent / "tiny"), write(tmp_path / parent / parent)
    result = compare(tmp_path / "x" / "tiny", tmp_path / "y" / "tiny")
    assert result.names == ("x/tiny", "y/tiny")
    assert {"increase in A, x/tiny [r₀ score]", "increase in B, y/tiny [r₀ score]"} < {
        *comparison.cells_sheet(result).header}
    assert compare(tmp_path / "x" / "x", tmp_path / "y" / "y").names == ("x", "y")
    assert compare(tmp_path / "x" / "x", tmp_path / "x" / "x").names == ("A", "B")


def test_command_writes_the_comparison(sets, tmp_path, capsys):
    for seed in range(2):
        write(sets[0], "rloo", seed), write(sets[1], "rloo", seed, gain=1.5, budget=2e6)
        write(sets[0], "zopro", seed), write(sets[1], "zopro", seed, budget=2e6)
    out = tmp_path / "out"
    assert main(["compare", str(sets[0]), str(sets[1]), "--out", str(out)]) == 0
    kinds = ("csv", "md", "png", "svg", "tex")
    assert sorted(p.name for p in out.iterdir()) == [f"comparison.{kind}" for kind in kinds]
    shown = capsys.readouterr().out
    assert "NOT THE SAME MEASUREMENT: BUDGET" in shown
    assert "HH-RLHF / RLOO: B − A = +0.500 [+0.500, +0.500] (paired), differs: B higher" in shown
    with (out / "comparison.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert rows["RLOO"]["B − A [r₀ score]"] == "+0.500" and rows["RLOO"]["verdict"] == "differs: B higher"
    assert rows["ZOPrO"]["verdict"] == "identical curves"
    page = (out / "comparison.md").read_text(encoding="utf-8")
    assert page.index("**Not the same measurement: budget.**") < page.index("What else differs") < page.index("RLOO")
    assert "reduced protocol (2 seeds), not comparable" in page and "comparison.png" in page
    picture = (out / "comparison.svg").read_text(encoding="utf-8")
    for words in ("not the same measurement: budget", "reduced protocol", "B − A in reward increase [r₀ score, test]",
                  "95 % bootstrap interval", "n = 2 seeds per method and set", "identical"):
        assert words in picture
    assert (out / "comparison.tex").read_text(encoding="utf-8").count(r"\begin{tabular}") == 2
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert main(["compare", str(sets[0]), str(sets[1]), "--out", str(out)]) == 0
    assert before == {p.name: p.read_bytes() for p in out.iterdir()}


def test_no_plot_of_an_earlier_comparison_stays(sets, tmp_path):
    out = tmp_path / "out"
    write(sets[0]), write(sets[1])
    assert main(["compare", str(sets[0]), str(sets[1]), "--out", str(out)]) == 0
    write(tmp_path / "other", task="wmt20_mlqe")
    assert main(["compare", str(sets[0]), str(tmp_path / "other"), "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["comparison.csv", "comparison.md", "comparison.tex"]
    assert "comparison.png" not in (out / "comparison.md").read_text(encoding="utf-8")


def test_folders_that_cannot_be_compared(sets, tmp_path, capsys):
    write(sets[0])
    assert main(["compare", str(sets[0]), str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
    sets[1].mkdir()
    with pytest.raises(BenchmarkError, match="holds no finished run"):
        compare(*sets)
    write(sets[1], seed=0, protocol="1"), write(sets[1], seed=1, protocol="2")
    with pytest.raises(BenchmarkError, match="mix protocol versions"):
        compare(*sets)

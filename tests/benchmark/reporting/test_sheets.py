"""The tables over all tasks, made of the golden runs and of hand-made ones; every value was computed by hand."""

import csv
import io
import re
from dataclasses import replace

import pytest

from benchmark.reporting import build_sheets
from benchmark.reporting.read import reader
from benchmark.reporting.read.aggregate import Estimate
from benchmark.reporting.tables import budgets, costs, formats, per_task, published, spreadsheet
from benchmark.reporting.tables.sheets import Sheet, decimal, with_interval
from tests.benchmark.reporting.golden import make
from tests.benchmark.reporting.made import finished
from tests.benchmark.reporting.test_aggregate import results_of, run_of

HH, WMT = "HH-RLHF", "WMT20 MLQE en-de"


def sheets_of(results):
    return {sheet.key: sheet for sheet in build_sheets(results, [per_task.build(results, t) for t in results.tasks])}


def cells(sheet, *names):
    """Header → cell of the row that begins with ``names``."""
    (row,) = [row for row in sheet.rows if row[: len(names)] == names]
    return dict(zip(sheet.header, row, strict=True))


@pytest.fixture(scope="module")
def golden():
    return sheets_of(reader.read(make.RUNS, method_order=make.METHOD_ORDER))


def test_every_sheet_is_rectangular_with_units_and_says_reduced(golden):
    assert list(golden) == [
        "overall", "headline_hh_rlhf", "headline_wmt20_mlqe", "paired", "paired_hh_rlhf", "paired_wmt20_mlqe",
        "verdict", "verdict_pairs", "equal", "target", "cost", "published"]
    for sheet in golden.values():
        assert sheet.rows and {len(row) for row in sheet.rows} == {len(sheet.header)}
        assert all(cell for row in sheet.rows for cell in row)
        assert sheet.notes and "not comparable" in sheet.reduced


def test_overall_by_hand(golden):
    rloo, zopro, mezo = (cells(golden["overall"], name) for name in ("RLOO", "ZOPrO", "MeZO"))
    score = "reward: normalised score, IQM (95 % interval) [sd of r₀]"
    # increases 0.9, 1.0 on both tasks, deviations 1 and 2: of 0.45 0.5 0.9 1.0 the middle two
    assert rloo[score].startswith("0.70 (")
    # 1.3, 1.44 and, one seed alone, 1.3 / 2: too few to cut, and no interval
    assert zopro[score] == "1.13"
    # 1.8 and 2.0 on both tasks: errors of 0.1 each, of their mean 0.1 · √2 / 2
    assert rloo["KL to π₀, mean over tasks [nats per completion]"] == "1.900 ±0.071"
    assert not any("gold" in title or "win rate" in title for title in golden["overall"].header)  # no common judge
    assert zopro["better than RLOO (95 % interval) [probability]"] == "1.00"
    assert rloo["better than RLOO (95 % interval) [probability]"] == "–"
    assert mezo[score] == "diverged (1 of 3 runs)"
    assert zopro["better than MeZO (95 % interval) [probability]"] == "n/a"
    assert [row["n [runs]"] for row in (rloo, zopro, mezo)] == ["4", "3", "3"]
    assert "A single seed has no interval." in " ".join(golden["overall"].notes)


def test_equal_budgets_by_hand(golden):
    zopro, mezo = cells(golden["equal"], "ZOPrO"), cells(golden["equal"], "MeZO")
    # the common end of all runs on the validation split: gains 1.4 and 1.54
    assert zopro[f"{WMT} at 2,000,000 forward tokens [r₀ score]"] == "+1.470 (+1.400 to +1.540)"
    # after MeZO's 5 s: 0.6 + 0.25 · 0.8 and 0.66 + 1/9 · 0.88
    assert zopro[f"{WMT} at 5.0 s [r₀ score]"] == "+0.779 (+0.758 to +0.800)"
    assert mezo[f"{WMT} at 5.0 s [r₀ score]"] == "diverged" and mezo[f"{HH} at 5.0 s [r₀ score]"] == "+0.110"


def test_target_by_hand(golden):
    sheet = golden["target"]
    rloo = cells(sheet, WMT, "RLOO")
    # 0.5 of 1: seed 0 at 0.5/0.8 of 5 s, seed 1 at 0.5/0.88 of 5.5 s; tokens of the faster one
    assert (rloo["time to 50 % [s]"], rloo["compute to 50 % [forward tokens]"]) == ("3.1", "568,182")
    # 0.9: seed 0 half way from 0.8 to 1.0, at 7.5 s; seed 1 1/11 of the way from 0.88 to 1.1, at 6.0 s
    assert (rloo["time to 90 % [s]"], rloo["reached 90 % [runs]"]) == ("6.0", "2 of 2")
    # level 2 on the other task: 0.9 of it is beyond the gains of 1.0 and 1.1
    assert cells(sheet, HH, "RLOO")["time to 90 % [s]"] == "not reached"
    assert cells(sheet, HH, "RLOO")["reached 90 % [runs]"] == "0 of 2"
    lost = cells(sheet, WMT, "MeZO")
    assert lost["time to 50 % [s]"] == lost["compute to 90 % [forward tokens]"] == "diverged"


def test_a_target_that_fewer_than_half_reached_is_words():
    ends = [4, 4, 1, 1, 1]
    runs = [run_of(seed=seed, level=4.0, curve=[(0, 0), (10, end)]) for seed, end in enumerate(ends)]
    (row,) = budgets.target(results_of(*runs)).rows
    assert row[2:5] == ("not reached", "not reached", "2 of 5")
    (row,) = budgets.target(results_of(*runs[:4])).rows
    assert row[2:5] == ("5.0", "500", "2 of 4")


def test_without_a_unit_on_every_task_there_is_no_score():
    runs = [run_of(task, method, seed, level=level, end=1 + seed)
            for task, level in (("t", 1.0), ("u", 0.0)) for method in ("m", "other") for seed in range(2)]
    found = sheets_of(results_of(*runs))
    sheet = found["overall"]
    assert not any("score, IQM" in title or "increase" in title for title in sheet.header)
    assert cells(found["headline_u"], "m")["reward increase [r₀ score]"] == "n/a"  # neither KL nor judge
    assert "paired" not in found and "paired_u" in found
    assert {row[0] for row in found["target"].rows} == {"t"} and "u none" in found["target"].notes[0]
    assert budgets.target(results_of(*runs[4:])) is None


def cost_run(method, estimated, seconds, rank=8, epochs=1, completions=640, pairs=None, **adapter):
    """20 updates of 32; ``estimated``, ``seconds``: (rollout, update) tokens and seconds."""
    names = ("rollout", "update")
    config = {"method": {"epochs": epochs}, "adapter": {"rank": rank, **adapter}, "loop": {"sequences_per_update": 32}}
    summary = {"spent": {"updates": 20, "completions": completions},
               "ledger_tokens": dict(zip(names, estimated, strict=True)),
               "ledgers": dict(zip(names, seconds, strict=True))}
    curve = [{"spent": {"seconds": 1.0}, "metrics": {"reward": 0.0}}]
    return finished("t", method, 0, summary, curve, config=config, environment={"data": {"pairs": pairs}})


@pytest.mark.parametrize(
    ("method", "rank", "epochs", "expected"),
    [
        ("rloo", 8, 1, 5), ("rloo", 0, 1, 6), ("rloo", 8, 4, 11), ("ppo", 8, 1, 8), ("ppo", 0, 1, 10),
        ("online-dpo", 8, 1, 5), ("online-dpo", 0, 1, 6), ("dpo", 8, 1, 3), ("dpo", 0, 1, 4), ("mezo", 0, 1, 5),
        ("mezo-dpo", 8, 1, 3), ("zopro", 8, 1, 5), ("zopro", 0, 4, 11), ("no-update", 8, 1, 5),
    ],
)  # fmt: skip
def test_predicted_passes_are_those_of_the_methods_pages(method, rank, epochs, expected):
    run = cost_run(method, (1, 1), (1, 1), rank, epochs)
    assert costs.predicted(run).in_all == expected


@pytest.mark.parametrize(("kind", "only", "expected"), [
    ("lora", "", 5), ("norms", "", 5), ("full", "", 6), ("full", "layers.1", 5)])
def test_backpropagation_takes_a_third_pass_where_all_parameters_are_trained(kind, only, expected):
    assert costs.predicted(cost_run("rloo", (1, 1), (1, 1), kind=kind, only=only)).in_all == expected


def test_booked_passes_and_their_remarks():
    runs = [
        cost_run("rloo", (3000, 2000), (3, 2)), cost_run("mezo", (3000, 6000), (6, 3), epochs=4, completions=160),
        cost_run("dpo", (1000, 2000), (1, 2), completions=0, pairs=1000),
        cost_run("zopro", (3000, 2000), (6, 2)), cost_run("unknown", (1, 1), (1, 1)),
    ]  # fmt: skip
    results = reader.Results(tuple(runs), (), ("rloo", "mezo", "dpo", "zopro"))
    # One pass over RLOO's completions is 1000 tokens: 5 in all, as predicted; DPO's pairs took 1 + 2.
    assert [costs.passes(run) for run in runs] == [5, 9, 3, 5, None]
    sheet = costs.cost(results, [per_task.build(results, "t")])
    found = {row[1]: row for row in sheet.rows}
    assert found["RLOO"][2:8] == ("5", "5.00", "0.250", "0.250", "0", "–")
    # Seconds per token: 1, 1, 1, 1.6 and 1 in thousandths; the median is 1. ZOPrO's 5000 tokens took 8 s.
    assert found["ZOPrO"][4:8] == ("0.250", "0.400", "+60", "seconds for their tokens: rollouts +100 %, updates 0 %")
    # MeZO: 20 updates of 32 on 160 completions are 4 each; 9 passes less 3 leave 1.5 for each update, not 2.
    assert found["MeZO"][2:8] == (
        "11", "9.00", "0.450", "0.450", "0", "4.0 updates of 1.5 passes on each rollout or pair, 4 of 2 by definition",
    )  # fmt: skip
    assert found["unknown"][2:8] == ("–",) * 6


def test_generated_tokens_are_an_axis_of_their_own_where_runs_counted_them():
    old, new = cost_run("rloo", (3000, 2000), (3, 2)), cost_run("mezo", (3000, 6000), (6, 3))

    def sheet_of(*runs):
        results = reader.Results(runs, (), ("rloo", "mezo"))
        table = per_task.build(results, "t")
        return costs.cost(results, [table]), [column.key for column in table.columns]

    before, columns = sheet_of(old, new)
    assert not any("generated" in title for title in before.header) and "generated_tokens" not in columns
    spent = replace(new.summary.spent, generated_tokens=1_234_567)
    new = replace(new, summary=replace(new.summary, spent=spent))
    after, columns = sheet_of(old, new)
    assert "generated_tokens" in columns and {len(row) for row in after.rows} == {len(after.header)}
    place = after.header.index("tokens generated [millions]")
    assert {row[1]: row[place] for row in after.rows} == {"RLOO": "–", "MeZO": "1.235"}
    assert "1.235" in formats.to_latex(after)


def test_a_loss_that_samples_in_its_readings_has_no_rollouts_and_is_predicted_all_the_same():
    # 20 updates, two readings each of 32 completions that are generated, compared with π₀ and scored: 1,280 are.
    reward = cost_run("mezo-reward", (0, 3840), (0, 4), completions=1280)
    results = reader.Results((reward, cost_run("rloo", (3000, 2000), (3, 2))), (), ("mezo-reward", "rloo"))
    (row,) = (row for row in costs.cost(results, [per_task.build(results, "t")]).rows if "reward" in row[1].lower())
    assert costs.account(reward).sequences == 640 and row[2:4] == ("6", "6.00")
    slow = replace(reward, summary=replace(reward.summary, ledgers={"rollout": 0.0, "update": 40.0}))
    results = replace(results, runs=(slow, results.runs[1]))
    row = costs.cost(results, [per_task.build(results, "t")]).rows[0]
    assert "updates +" in row[7] and "rollouts" not in row[7]


def test_pairs_seen_again_need_no_second_pass_of_the_reference():
    # 20 updates of 32 sequences are 640; only 100 pairs exist, so π₀ saw 200 sequences of 10 tokens.
    run = cost_run("mezo-dpo", (2000, 12800), (1, 1), completions=0, pairs=100)
    assert costs.account(run).sequences == 200
    assert costs.passes(run) == pytest.approx(7.4)  # 1 + 2 · 640/200


def test_published_figures_stand_beside_ours_as_listed(golden):
    listed = published.figures()
    assert len(listed) == 7 and all(figure["comparable"] for figure in listed)
    sheet = golden["published"]
    assert [row[2] for row in sheet.rows] == [figure["value"] for figure in listed]
    ours = {row[0]: row[4] for row in sheet.rows}
    assert ours["Conversational assistant: HH-RLHF"] == "+1.300"
    assert ours["Summarisation: Summarize from Feedback"] == "–"  # no run of it
    assert ours["Efficiency analysis: Alignment (train)"] == "–"
    assert "missing decimal point" in cells(sheet, "Summarisation: Summarize from Feedback")["comparable"]
    assert published.published(results_of(run_of()), []) is None


SHEET = Sheet(
    "k", "A | B", "Read <it>.", ("name", "value [%]", "why"),
    (("x_1", "1,234.5", "-"), ("y", "-0.5 (-1.0 to +2)", "because " * 6)), ("n = 2.",), "reduced protocol (1)",
)  # fmt: skip


def test_sheet_csv_has_plain_numbers():
    rows = list(csv.reader(io.StringIO(spreadsheet.to_csv(SHEET))))
    assert rows[0] == ["name", "value [%]", "value, 95 % from [%]", "value, 95 % to [%]", "why", "protocol note"]
    assert rows[1] == ["x_1", "1234.5", "", "", "-", "reduced protocol (1)"]
    assert rows[2][1:4] == ["-0.5", "-1.0", "+2"]


def test_every_csv_has_one_value_a_cell(golden):
    titles = ("m", "gold [0–1]", "r (95 % interval) [sd]", "p", "l, π₀ → end [x]", "CI [x]", "n [runs]")
    sheet = Sheet("k", "t", "i", titles, (
        ("a", "+0.1 ±0.02", "-1 (-2 to 0)", "<0.001 (0.0625)", "1,000 → 2", "[-1, +1]", "2 (1 diverged)"),
        ("b", "+3.0 ±4.0 †", "not powered", "1.000 (1.000)", "n/a", "–", "3"),
        ("c", "diverged (1 of 2 runs)", "5", "–", "–", "–", "2 (2 diverged)")))
    header, *lines = csv.reader(io.StringIO(spreadsheet.to_csv(sheet)))
    assert header == ["m", "gold [0–1]", "gold, standard error [0–1]", "gold, mark [0–1]", "r [sd]",
                      "r, 95 % from [sd]", "r, 95 % to [sd]", "p", "p, Wilcoxon", "l, start [x]", "l, end [x]",
                      "CI, from [x]", "CI, to [x]", "n [runs]", "n, diverged [runs]", "protocol note"]
    assert lines == [
        ["a", "+0.1", "0.02", "", "-1", "-2", "0", "<0.001", "0.0625", "1000", "2", "-1", "+1", "2", "1", ""],
        ["b", "+3.0", "4.0", "†", "not powered", "", "", "1.000", "1.000", "n/a", "", "–", "", "3", "", ""],
        ["c", "diverged (1 of 2 runs)", "", "", "5", "", "", "–", "", "–", "", "–", "", "2", "2", ""]]
    for made in golden.values():
        for line in list(csv.reader(io.StringIO(spreadsheet.to_csv(made))))[1:]:
            assert not [cell for cell in line if re.search(r"\d ?(±|→|†)|\d \(.*\d to .*\d\)|^\[.*\]$", cell)], made.key


def test_sheet_markdown_is_escaped():
    text = formats.to_markdown(SHEET)
    assert text.startswith("## A \\| B\n\n**Reduced protocol (1).**\n\nRead &lt;it&gt;.\n\n| name |")
    assert "| name | value \\[%\\] | why |\n|:---|---:|:---|" in text
    assert "| x\\_1 | 1,234.5 | - |" in text and text.endswith("\n- n = 2.\n")


def test_sheet_latex_is_escaped_and_balanced(golden):
    text = formats.to_latex(SHEET)
    assert r"\begin{tabular}{lrp{7cm}}" in text
    assert r"\caption[A $|$ B]{A $|$ B. Reduced protocol (1).}" in text.replace(r"\textbar{}", "$|$")
    assert r"\label{tab:k}" in text and text.index(r"\label") < text.index("n = 2.") < text.index(r"\end{table*}")
    assert "name & value & why \\\\\n & {[}\\%{]} &  \\\\" in text
    assert r"y & $-$0.5 ($-$1.0 to +2) & because" in text
    for sheet in golden.values():
        text = formats.to_latex(sheet)
        caption = text.partition(r"\caption[")[2].partition("\n")[0]
        assert len(caption) < 330 and text.count(r"\label{tab:") == 1  # the title twice, and the words of a protocol
        assert text.isascii() and text.count("{") == text.count("}") and "U+" not in text
        body = re.split(r"\\toprule|\\bottomrule", text)[1]
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(lines) >= len(sheet.rows) + 2
        assert {line.replace(r"\&", "").count("&") for line in lines} == {len(sheet.header) - 1}


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(0.5, 0.25, 0.75), "+0.50 (+0.25 to +0.75)"),
        (Estimate(-0.001, None, None), "0.00"),
        (Estimate(-1234.5, -2000, 0.0), "-1,234.50 (-2,000.00 to 0.00)"),
    ],
)
def test_with_interval(estimate, expected):
    assert with_interval(estimate, 2, signed=True) == expected
    assert decimal(1234567.8, 0) == "1,234,568"


def test_a_control_that_ends_early_does_not_shorten_the_methods_that_are_compared():
    curves = {"rloo": [(0, 0), (10, 1)], "zopro": [(0, 0), (8, 1)], "zopro-random": [(0, 0), (4, 1)]}
    found = sheets_of(results_of(*(run_of(method=m, curve=curve) for m, curve in curves.items())))
    sheet, family = found["equal"], found["equal_ablation"]
    assert [row[0] for row in sheet.rows] == ["RLOO", "ZOPrO"]
    assert [row[0] for row in family.rows] == ["ZOPrO", "random only (a = 0)"]
    assert cells(sheet, "RLOO")["t at 8.0 s [r₀ score]"] == "+0.800"
    assert cells(family, "ZOPrO")["t at 4.0 s [r₀ score]"] == "+0.500"
    assert cells(family, "ZOPrO")["t at 400 forward tokens [r₀ score]"] == "+0.500"


def test_the_table_of_a_task_reads_controls_in_a_block_of_their_own():
    runs = [run_of(method=m, curve=[(0, 0), (end, 1)]) for m, end in (("rloo", 10), ("zopro", 8), ("zopro-random", 4))]
    blocks = {group: rows for group, _, rows in per_task.build(results_of(*runs), "t").groups()}
    assert [row.method for row in blocks["equal"]] == ["rloo", "zopro"]
    assert [row.method for row in blocks["equal_ablation"]] == ["zopro", "zopro-random"]
    key = "reward_increase_equal_time"
    rloo, zopro, control = blocks["end"]
    assert (rloo.cells[key].mean, rloo.cells[f"{key}_ablation"].word) == (pytest.approx(0.8), "–")
    assert (zopro.cells[key].mean, zopro.cells[f"{key}_ablation"].mean) == (pytest.approx(1), pytest.approx(0.5))
    assert (control.cells[key].word, control.cells[f"{key}_ablation"].mean) == ("–", pytest.approx(1))


def test_controls_are_named():
    ends = {"rloo": 3.0, "zopro": 1.0, "zopro-random": 5.0}
    found = sheets_of(results_of(*(run_of(method=m, seed=s, end=end + s) for m, end in ends.items() for s in range(2))))
    assert "Controls, not methods to choose from: random only (a = 0)." in found["overall"].notes


def test_controls_do_not_set_the_pace_of_the_predicted_time():
    slow = ["zopro-random", "zopro-previous", "zopro-shuffled"]
    runs = [*(cost_run(m, (3000, 2000), (3, 2)) for m in ("rloo", "zopro")),
            *(cost_run(m, (3000, 2000), (6, 4)) for m in slow)]
    results = reader.Results(tuple(runs), (), ("rloo", "zopro", *slow))
    found = {row[1]: row for row in costs.cost(results, [per_task.build(results, "t")]).rows}
    # 1 thousandth of a second a token with RLOO and ZOPrO; the controls take twice that
    assert (found["RLOO"][6], found["ZOPrO"][6], found["random only (a = 0)"][6]) == ("0", "0", "+100")


def test_warnings_of_one_kind_share_a_footnote():
    def warned(seed, *warnings):
        run = run_of(method="zopro", seed=seed)
        return replace(run, summary=replace(run.summary, warnings=warnings))

    runs = [warned(0, "below noise: in 3 of 4", "odd: x"), warned(1, "below noise: in 4 of 4"),
            warned(2, "below noise: in 3 of 4")]
    table = per_task.build(results_of(*runs), "t")
    assert table.footnotes == {
        "a": "ZOPrO, seeds 0, 2: below noise: in 3 of 4; seed 1: below noise: in 4 of 4", "b": "ZOPrO, seed 0: odd: x"}
    assert table.rows[0].marks == ("a", "b")

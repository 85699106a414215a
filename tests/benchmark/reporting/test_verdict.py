"""Verdicts on hand-made runs."""

from tests.benchmark.reporting.test_aggregate import results_of
from tests.benchmark.reporting.test_headline import judged
from tests.benchmark.reporting.test_sheets import cells, sheets_of

REWARD, GOLD = "verdict, reward", "verdict, gold score"


def test_verdicts_in_words():
    def runs(method, rewards, golds):
        return [judged(method, seed, r, g, kl=2.0) for seed, (r, g) in enumerate(zip(rewards, golds, strict=True))]

    found = sheets_of(results_of(
        *runs("rloo", (1.0, 1.1, 0.9), (0.2, 0.2, 0.2)), *runs("zopro", (0.50, 0.61, 0.40), (0.1, 0.1, 0.1)),
        *runs("mezo", (0.10, 0.20, 0.00), (0.1, 0.3, -0.1)), *runs("lozo", (0.49, 0.62, 0.40), (0.1, 0.1, 0.1))))
    sheet = found["verdict"]
    assert {name: cells(sheet, name)[REWARD] for name in ("RLOO", "MeZO", "LOZO")} == {
        "RLOO": "lower", "MeZO": "higher", "LOZO": "alike"}
    assert cells(sheet, "MeZO")[GOLD] == "not powered" and cells(sheet, "LOZO")[GOLD] == "alike"
    # 0.4, 0.41, 0.4: 0.4033 ± 4.303 · 0.00577 / √3
    assert cells(sheet, "MeZO")["reward (95 % interval) [sd of r₀]"] == "+0.403 (+0.389 to +0.418)"


def test_a_run_that_lies_far_out_shows():
    found = sheets_of(results_of(
        *(judged("zopro", seed, reward, 0.1) for seed, reward in enumerate((0.52, 0.51, 0.53, 0.5, -9.0))),
        *(judged("mezo", seed, 0.5, 0.1) for seed in range(5))))
    row = cells(found["verdict_pairs"], "MeZO")
    assert [row[f"{word}, reward [sd of r₀]"] for word in ("median", "smallest", "largest")] == [
        "+0.010", "-9.500", "+0.030"]
    assert (row["higher, reward [pairs]"], row["lower, reward [pairs]"]) == ("3", "1")
    assert row["median, gold score [0–1]"] == "0.000" and row["higher, gold score [pairs]"] == "0"
    assert cells(found["verdict"], "MeZO")[REWARD] != "higher"


def test_without_zopro_there_is_no_verdict():
    found = sheets_of(results_of(*(judged(method, seed, 1.0, 0.1) for method in ("rloo", "mezo") for seed in (0, 1))))
    assert "verdict" not in found

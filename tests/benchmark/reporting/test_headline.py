"""Headlines and paired differences of golden and of hand-made runs; every value was computed by hand."""

from dataclasses import replace

import pytest

from benchmark.core.records import Sample
from benchmark.reporting.read import reader, schema
from tests.benchmark.reporting.golden import make
from tests.benchmark.reporting.made import finished
from tests.benchmark.reporting.test_aggregate import results_of, run_of
from tests.benchmark.reporting.test_sheets import cells, sheets_of


@pytest.fixture(scope="module")
def golden():
    return sheets_of(reader.read(make.RUNS, method_order=make.METHOD_ORDER))


def test_headline_by_hand(golden):
    rloo, mezo = (cells(golden["headline_wmt20_mlqe"], name) for name in ("RLOO", "MeZO"))
    # increases 0.9 and 1.0, gold a quarter of that, KL twice that
    assert rloo["gold score change [0–1]"] == "+0.237 ±0.013"
    assert rloo["reward increase [sd of r₀]"] == "+0.950 ±0.050"
    assert rloo["KL to π₀ [nats per completion]"] == "1.900 ±0.100"
    # gold 0.5 → 0.7375 between 0.3 and 0.8
    assert rloo["gold between best constant and demonstrations, π₀ → end [0–1]"] == "0.40 → 0.88"
    # mean of √3.6 and √4
    assert rloo["bound √(2 KL) [sd of r₀]"] == "1.949"
    # the validation gain is half the KL, a straight line from (0, 0); gold a quarter of the gain
    assert rloo["reward at KL 0.5 [sd of r₀]"] == "+0.250 ±0.000"
    assert rloo["area, reward over KL to 0.5 [sd of r₀]"] == "+0.125 ±0.000"
    assert rloo["area, gold score over KL to 0.5 [0–1]"] == "+0.031 ±0.000"
    assert set(mezo.values()) == {"MeZO", "diverged (1 of 2 runs)", "2"}
    notes = " ".join(golden["headline_wmt20_mlqe"].notes)
    assert "best constant text 0.300, the prompt copied 0.100, demonstrations 0.800, references 1.000" in notes
    # half of RLOO's 0.95 and 0.2375
    assert "gold score 0.119, reward 0.475" in notes


def judged(method, seed, reward, gold, kl=0.5, deviation=1.0, workers=1):
    """Test reward and gold rise by ``reward`` and ``gold``; ``deviation`` None = not recorded."""
    start = {"reward_accuracy": 1.0, "held_out_pairs": 1, "judge": {"kind": "gold"}, "reward_sd": deviation}
    summary = {"initial": {"test": {"reward": 1.0, "gold": 0.5, "kl": 0.0}},
               "final": {"test": {"reward": 1.0 + reward, "gold": 0.5 + gold, "kl": kl}}}
    curve = [{"spent": {"seconds": s, "forward_tokens": s},
              "metrics": {"reward": s * reward, "gold": 0.5, "kl": s * kl}} for s in (0.0, 1.0)]
    return finished("t", method, seed, summary, curve, environment={"workers": workers, "preparation": start})


def test_what_is_bought_with_the_judge_is_over_optimised_and_what_kl_cannot_buy_is_marked():
    runs = [judged("rloo", seed, 1.0 + seed / 10, -0.2 - seed / 100) for seed in range(3)]
    runs += [judged("mezo", seed, 0.3 + seed / 100, 0.1 + seed / 100, kl=0.02) for seed in range(3)]
    sheet = sheets_of(results_of(*runs))["headline_t"]
    assert cells(sheet, "RLOO")["verdict"] == "over-optimised" and cells(sheet, "MeZO")["verdict"] == "–"
    # √0.04 = 0.2 < 0.31; √1 = 1 < 1.1 too
    assert cells(sheet, "MeZO")["reward increase [sd of r₀]"] == "+0.310 ±0.006 †"
    assert cells(sheet, "MeZO")["bound √(2 KL) [sd of r₀]"] == "0.200"
    # its curve ends 0.3 above π₀ at KL 0.02, of which 0.2 can be
    assert cells(sheet, "MeZO")["reward at KL 0.5 [sd of r₀]"] == "+0.200 ±0.000"


def test_an_effect_that_could_not_be_seen_is_a_word():
    runs = [judged("rloo", seed, 1.0, 0.2, kl=2.0) for seed in range(3)]
    runs += [judged("mezo", seed, value, 0.0, kl=2.0) for seed, value in enumerate((-0.4, 0.1, 0.6))]
    runs += [judged("lozo", seed, value, 0.0, kl=2.0) for seed, value in enumerate((-0.04, 0.01, 0.06))]
    found = sheets_of(results_of(*runs))
    reward = "reward increase [sd of r₀]"
    # of three pairs with deviations of 0.5 and 0.05, 1.6 and 0.16 can be detected; half of RLOO's gain is 0.5
    assert cells(found["headline_t"], "MeZO")[reward] == "not powered"
    assert cells(found["headline_t"], "LOZO")[reward] == "+0.010 ±0.029"
    score = "reward: normalised score, IQM (95 % interval) [sd of r₀]"
    assert cells(found["overall"], "MeZO")[score] == "not powered"
    assert cells(found["overall"], "LOZO")[score].startswith("0.01 (")
    assert cells(found["paired_t"], "MeZO")["minus π₀ (95 % interval) [sd of r₀]"] == "not powered"
    lozo = cells(found["paired_t"], "LOZO")
    # 0.01 ± 4.303 · 0.05 / √3
    assert lozo["minus π₀ (95 % interval) [sd of r₀]"] == "+0.010 (-0.114 to +0.134)"
    assert lozo["minus RLOO (95 % interval) [sd of r₀]"] == "-0.990 (-1.114 to -0.866)"
    assert lozo["n [pairs]"] == "3" and "Asked about: half the best first-order method's increase, 0.500." in " ".join(
        found["paired_t"].notes)


def test_seeds_are_paired_and_p_values_adjusted():
    runs = [judged("rloo", seed, seed + 1.0, 0.1, kl=8.0) for seed in range(4)]
    runs += [judged("mezo", seed, seed + 0.5 - seed / 10, 0.1, kl=8.0) for seed in range(4)]
    sheet = sheets_of(results_of(*runs))["paired_t"]
    # −0.5 −0.6 −0.7 −0.8: mean −0.65, deviation 0.1291, t(3) = 10.07: p = 0.0021; of three comparisons the smallest
    row = cells(sheet, "MeZO")
    assert row["minus RLOO (95 % interval) [sd of r₀]"] == "-0.650 (-0.855 to -0.445)"
    assert row["p, against RLOO"] == "0.006 (0.125)"
    assert "for the 3 comparisons of this table" in " ".join(sheet.notes)


def test_published_settings_are_shown_of_all_or_of_none():
    def rows(*methods):
        found = sheets_of(results_of(*(judged(m, seed, 1.0 + seed, 0.1) for m in methods for seed in range(2))))
        assert all([row[0] for row in found[key].rows] == [row[0] for row in found["overall"].rows]
                   for key in ("headline_t", "paired_t"))
        return [row[0] for row in found["overall"].rows], " ".join(found["overall"].notes)

    names, notes = rows("rloo", "zopro", "zopro-published")
    assert names == ["RLOO", "ZOPrO"] and "without ZOPrO, published settings" in notes
    names, notes = rows("zopro", "zopro-published")
    assert names == ["ZOPrO", "ZOPrO, published settings"] and "Published settings" not in notes


def test_older_runs_are_scaled_by_their_samples_or_stay_raw():
    def headline(*scores):
        runs = [judged("rloo", seed, 1.0 + seed / 100, 0.1, deviation=None) for seed in range(2)]
        samples = tuple(schema.read(Sample, {"prompt": str(i), "base_reward": score}, "samples.jsonl")
                        for i, score in enumerate(scores))
        return sheets_of(results_of(*(replace(run, samples=samples) for run in runs)))["headline_t"]

    # deviation of 0 and 4: √8
    assert cells(headline(0.0, 4.0), "RLOO")["reward increase [sd of r₀]"] == "+0.355 ±0.002"
    assert "a rough unit" in headline(0.0, 4.0).notes[0]
    assert cells(headline(), "RLOO")["reward increase [r₀ score]"] == "+1.005 ±0.005"
    assert "Reward is raw" in headline().notes[0] and not any("bound" in title for title in headline().header)


def test_equal_time_needs_runs_that_had_the_machine_alone():
    def title(workers):
        return sheets_of(results_of(*(run_of(seed=seed, workers=workers) for seed in range(2))))["equal"].title

    assert title(0) == title(1) == "At equal compute and at equal time"
    assert title(2) == title(None) == "At equal compute"

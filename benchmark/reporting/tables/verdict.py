"""ZOPrO against each of its rivals and controls, in words and pair by pair: the comparisons that decide the paper's
claim."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import NamedTuple

from benchmark.core import paired
from benchmark.core.paired import Difference
from benchmark.reporting.plots import style
from benchmark.reporting.read import scale
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables.headline import NOT_POWERED, left_out, of_unit
from benchmark.reporting.tables.paired import interval_text, p_text
from benchmark.reporting.tables.sheets import Sheet, decimal


class Compared(NamedTuple):
    """Difference to each rival; p after Holm; the effect that is asked about; each rival's differences by pair."""

    found: dict[str, Difference]
    adjusted: dict[str, float]
    asked: float | None
    values: dict[str, list[float]]


SUBJECT = "zopro"
LEVEL = 0.05


def sheets(results: Results) -> list[Sheet]:
    """Rivals × paired difference of reward and gold (or win rate) to ZOPrO, with a verdict, and how the differences are
    spread; none where there is nothing to compare, or rewards of several tasks have no common unit."""
    units = {task: scale.unit(results, task) for task in results.tasks}
    rivals = [method for method in results.headline if method != SUBJECT]
    if SUBJECT not in results.headline or (len(units) > 1 and not all(unit.of_seed for unit in units.values())):
        return []
    judge = results.common_judge
    columns = {metric: _against(results, rivals, metric, units) for metric in ("reward", judge) if metric}
    if not any(one.p is not None for found, *_ in columns.values() for one in found.values()):
        return []
    names = {"reward": ("reward", units[results.tasks[0]].name)} | ({judge: style.JUDGES[judge]} if judge else {})
    header = ["ZOPrO minus …"]
    for metric in columns:
        name, unit = names[metric]
        header += [f"{name} (95 % interval) [{unit}]", f"p, {name}", f"verdict, {name}"]
    rows = []
    for rival in rivals:
        row = [style.label(rival)]
        for found, adjusted, asked, _ in columns.values():
            row += _texts(found.get(rival), adjusted.get(rival), asked)
        rows.append((*row, str(max((found[rival].n for found, *_ in columns.values() if rival in found), default=0))))
    scales = tuple(dict.fromkeys(of_unit(unit) for unit in units.values()))
    effects = [f"{names[metric][0]} {asked:.3f}" for metric, (_, _, asked, _) in columns.items() if asked is not None]
    in_words = Sheet(
        key="verdict", title="ZOPrO against its rivals and controls",
        intro="Change of ZOPrO minus that of the row's method, test split, within each task and seed, at equal "
              "compute.",
        header=(*header, "n [pairs]"), rows=tuple(rows),
        notes=(*scales,
               "Interval: Student's t over the pairs. p: paired t-test, Holm-adjusted over the rows of a column. "
               f"Higher, lower: p below {LEVEL}. Not powered: neither, and an effect as large as the one asked about "
               "would not have been found with 80 % power. Alike: neither, though it would have been."
               + (f" Asked about: half the best first-order method's change, {', '.join(effects)}." if effects else ""),
               *left_out(results)),
        reduced=results.reduced())
    return [in_words, _spread(columns, names, rivals, scales, in_words.reduced)]


def _spread(columns: Mapping[str, Compared], names: Mapping[str, tuple[str, str]], rivals: list[str],
            scales: tuple[str, ...], reduced: str) -> Sheet:
    """Rivals × median and ends of the differences, how many are above and below 0, and the signed-rank test."""
    header = ["ZOPrO minus …"]
    for metric in columns:
        name, unit = names[metric]
        header += [f"{word}, {name} [{unit}]" for word in ("median", "smallest", "largest")]
        header += [f"{word}, {name} [pairs]" for word in ("higher", "lower")] + [f"p by signed ranks, {name}"]
    rows = []
    for rival in rivals:
        row = [style.label(rival)]
        for found, _, _, values in columns.values():
            each = values.get(rival)
            row += ["n/a"] * 6 if not each else [
                *(decimal(value, 3, signed=True) for value in (statistics.median(each), min(each), max(each))),
                str(sum(value > 0 for value in each)), str(sum(value < 0 for value in each)),
                "n/a" if (p := found[rival].wilcoxon) is None else p_text(p)]
        rows.append(tuple(row))
    return Sheet(
        key="verdict_pairs", title="ZOPrO against its rivals and controls, pair by pair",
        intro="The differences of the table before this one, one of each task and seed: what a mean hides.",
        header=tuple(header), rows=tuple(rows),
        notes=("p: Wilcoxon's signed-rank test, which a single pair that lies far out cannot sway; not adjusted.",
               *scales),
        reduced=reduced)


def _against(results: Results, rivals: list[str], metric: str, units: Mapping[str, scale.Unit],
             ) -> Compared:
    values = {rival: scale.differences(results, results.tasks, SUBJECT, rival, units, metric) for rival in rivals}
    found = {rival: paired.difference(each) for rival, each in values.items() if each}
    tests = {rival: one.p for rival, one in found.items() if one.p is not None}
    adjusted = dict(zip(tests, paired.holm(list(tests.values())), strict=True))
    return Compared(found, adjusted, scale.mean_effect(results, results.tasks, metric, units), values)


def _texts(one: Difference | None, p: float | None, asked: float | None) -> list[str]:
    if one is None:
        return ["n/a"] * 3
    if one.low is None or one.high is None or p is None:
        return [decimal(one.mean, 3, signed=True), "n/a", "a single pair"]
    word = ("higher" if one.mean > 0 else "lower") if p < LEVEL else (
        "alike" if scale.seen(one, asked) else NOT_POWERED)
    return [interval_text(one), p_text(p), word]

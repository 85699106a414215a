"""Differences between methods, taken within (task, seed): seeds share start, prompts and reward model."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.core import paired
from benchmark.core.paired import Difference
from benchmark.reporting.plots import style
from benchmark.reporting.read import scale
from benchmark.reporting.read.aggregate import Estimate
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables.headline import NOT_POWERED, left_out, of_unit
from benchmark.reporting.tables.overall import BASELINES
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet, decimal, with_interval


def sheets(results: Results, tables: Sequence[Table]) -> list[Sheet]:
    """A sheet over all tasks, if there are more and their rewards have a unit, and one a task."""
    units = {task: scale.unit(results, task) for task in results.tasks}
    groups = [[table] for table in tables]
    if len(tables) > 1 and all(unit.of_seed for unit in units.values()):
        groups.insert(0, list(tables))
    found = [_sheet(results, group, units) for group in groups]
    return [sheet for sheet in found if sheet is not None]


def _sheet(results: Results, tables: Sequence[Table], units: dict[str, scale.Unit]) -> Sheet | None:
    tasks = [table.task for table in tables]
    unit = units[tasks[0]]
    methods = [m for m in results.headline if any(results.of(task, m) for task in tasks)]
    others = [None, *(b for b in BASELINES if b in methods)]
    asked = scale.mean_effect(results, tasks, "reward", units)
    cells = {(m, o): scale.differences(results, tasks, m, o, units) for m in methods for o in others if m != o}
    found = {pair: paired.difference(values) for pair, values in cells.items() if values}
    tests = {frozenset(pair): one.p for pair, one in found.items() if one.p is not None}  # A − B and B − A are one
    if not tests:
        return None
    adjusted = dict(zip(tests, paired.holm(list(tests.values())), strict=True))
    header = ["method"]
    for other in others:
        name = style.label(other) if other else "π₀"
        header += [f"minus {name} (95 % interval) [{unit.name}]", f"p, against {name}",
                   f"detectable, against {name} [{unit.name}]"]
    rows = []
    for method in methods:
        row = [style.label(method)]
        for other in others:
            one = found.get((method, other))
            row += ["–"] * 3 if method == other else ["n/a"] * 3 if one is None else _texts(
                one, adjusted.get(frozenset((method, other))), asked)
        rows.append((*row, str(max((one.n for (m, _), one in found.items() if m == method), default=0))))
    effect = f" Asked about: half the best first-order method's increase, {asked:.3f}." if asked else ""
    return Sheet(
        key="paired" if len(tables) > 1 else f"paired_{tasks[0]}",
        title="Paired differences" + (" over all tasks" if len(tables) > 1 else f": {tables[0].title}"),
        intro="Test reward increase of the row's method minus that of the column's, within each task and seed.",
        header=(*header, "n [pairs]"), rows=tuple(rows),
        notes=(
            *dict.fromkeys(of_unit(units[task]) for task in tasks),
            f"Interval: Student's t over the pairs. p: paired t-test, Holm-adjusted for the {len(tests)} comparisons "
            "of this table; in brackets Wilcoxon's signed-rank test, not adjusted.",
            "Detectable: the true difference that a paired t-test of so many pairs finds with 80 % power (at 5 %, not "
            "adjusted). Not powered: the interval holds 0 and the effect asked about is smaller than that." + effect,
            *_coverage(max(one.n for one in found.values())),
            *(["Seeds of a task share its data: over all tasks the pairs are not quite independent."]
              if len(tables) > 1 else []),
            *left_out(results)),
        reduced=results.reduced(tasks[0]) if len(tables) == 1 else results.reduced())


def _texts(one: Difference, adjusted: float | None, asked: float | None) -> list[str]:
    if one.low is None or one.high is None or one.wilcoxon is None or one.detectable is None or adjusted is None:
        return [decimal(one.mean, 3, signed=True), "n/a", "n/a"]
    shown = interval_text(one) if scale.seen(one, asked) else NOT_POWERED
    return [shown, f"{p_text(adjusted)} ({p_text(one.wilcoxon)})", decimal(one.detectable, 3)]


def _coverage(n: int) -> list[str]:
    if n < 2:
        return []
    normal, skewed = paired.student_coverage(n)
    return [f"With {n} pairs the interval covers the mean of normal differences in {100 * normal:.0f} % of "
            f"simulations, that of exponential ones, which are very skewed, in {100 * skewed:.0f} %."]


def interval_text(one: Difference) -> str:
    """``+0.010 (-0.114 to +0.134)``."""
    return with_interval(Estimate(one.mean, one.low, one.high), 3, signed=True)


def p_text(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"

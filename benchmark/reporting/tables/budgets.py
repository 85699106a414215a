"""The sheets that read the validation curves: at equal time and equal compute, and what it took to reach a target."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.core import statistics
from benchmark.reporting.plots import style
from benchmark.reporting.read import aggregate
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables.overall import coverage_note, mean_text, runs_text
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet, decimal

APART = (
    "ZOPrO and its controls are read in a table of their own: a control that ends early must not shorten the methods "
    "that are compared."
)


def equal(results: Results, tables: Sequence[Table]) -> list[Sheet]:
    """Methods × reward increase of each task, once at equal compute and once at equal time.

    Where ZOPrO's controls stand beside other methods they have a sheet of their own, with ZOPrO.
    """
    groups = style.groups(results.methods)
    found = [_equal(results, tables, suffix, methods, len(groups) > 1) for suffix, methods in groups.items()]
    return [sheet for sheet in found if sheet is not None]


def _equal(results: Results, tables: Sequence[Table], suffix: str, methods: Sequence[str], several: bool
           ) -> Sheet | None:
    columns = [
        (table, column)
        for key in ("reward_increase_equal_compute", "reward_increase_equal_time")
        for table in tables
        for column in table.columns
        if column.key == f"{key}{suffix}"
    ]
    if not columns:
        return None
    timed = any(column.at_unit == "s" for _, column in columns)
    rows = []
    for method in methods:
        found = [next((row.cells[c.key] for row in table.rows if row.method == method), None) for table, c in columns]
        rows.append((style.label(method), *map(mean_text, found), runs_text(results, method)))
    inside = " in this table" if several else ""
    return Sheet(
        key=f"equal{suffix}",
        title=f"At equal compute{' and at equal time' if timed else ''}{': ZOPrO and its controls' if suffix else ''}",
        intro="Reward increase on the validation split (95 % interval), every curve of a task read at the largest "
              f"budget that all its runs reached{inside}.",
        header=(
            "method",
            *[f"{table.title} at {decimal(c.at or 0.0, 1 if c.at_unit == 's' else 0)} {c.at_unit} [r₀ score]"
              for table, c in columns],
            "n [runs]",
        ),
        rows=tuple(rows),
        notes=(
            "Increase over π₀, linear interpolation between evaluations; runs that diverged do not shorten the others.",
            *([APART] if several else []),
            "Interval: 95 % percentile bootstrap of the mean over seeds. n: over all tasks and seeds.",
            "Seconds are those of the hardware named under provenance, optimisation only."
            if timed else "There is no table at equal time: runs shared the machine (more than one worker).",
            coverage_note(results, [table.task for table in tables]),
        ),
        reduced=results.reduced(),
    )


def target(results: Results) -> Sheet | None:
    """Tasks and methods × time and compute to each share of the reference level; ``None`` when no level is frozen."""
    if all(aggregate.reference_increase(results, task) is None for task in results.tasks):
        return None
    header = ["task", "method"]
    for share in aggregate.TARGETS:
        words = f"{100 * share:.0f} %"
        header += [f"time to {words} [s]", f"compute to {words} [forward tokens]", f"reached {words} [runs]"]
    rows, levels = [], []
    for task in results.tasks:
        level = aggregate.reference_increase(results, task)
        if level is None:
            levels.append(f"{results.title(task)} none")
            continue
        levels.append(f"{results.title(task)} {level:.4g}")
        kinds = ("seconds", "forward_tokens")
        found = {(share, kind): aggregate.targets(results, task, share * level, kind)
                 for share in aggregate.TARGETS for kind in kinds}
        for method in results.methods_of(task):
            lost = any(run.diverged for run in results.of(task, method))
            row = [results.title(task), style.label(method)]
            for share in aggregate.TARGETS:
                time, compute = (found[share, kind][method] for kind in kinds)
                row += ["diverged"] * 2 if lost else [_spent(time, 1), _spent(compute, 0)]
                row.append(f"{sum(value is not None for value in time)} of {len(time)}")
            rows.append(tuple(row))
    return Sheet(
        key="target",
        title="Time and compute to target",
        intro="What each method spent until its validation reward increase first reached 50 % and 90 % of the task's "
              "frozen reference level.",
        header=tuple(header),
        rows=tuple(rows),
        notes=(
            f"Reference levels [r₀ score]: {', '.join(levels)}.",
            "A figure is the budget by which half of the runs had reached the target: the median over seeds, a run "
            "that never reached it counted as later than all others. Where fewer than half did it says so.",
            "Linear interpolation between evaluations, so a figure below the distance of two evaluations is rough.",
            "Diverged: a seed of the method diverged, whatever the others reached.",
            "Seconds are those of the hardware named under provenance, optimisation only.",
        ),
        reduced=results.reduced(),
    )


def _spent(spent: Sequence[float | None], digits: int) -> str:
    value = statistics.median_reached(spent)
    return "not reached" if value is None else decimal(value, digits)

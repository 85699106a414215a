"""The sheets over all tasks: normalised scores with raw increases beside them, and who is better than whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.core import statistics
from benchmark.reporting.plots import style
from benchmark.reporting.read import aggregate
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables.per_task import Cell, Table
from benchmark.reporting.tables.sheets import Sheet, decimal, with_interval

Improvements = Mapping[str, Mapping[str, aggregate.Estimate]]  # as aggregate.improvements gives them

BASELINES = ("rloo", "mezo")  # the first-order method that ZOPrO starts from, and plain zeroth-order descent
FEW = (
    "With few seeds a percentile bootstrap interval covers less than 95 %: read it as the spread between seeds. A "
    "single seed has none."
)
BETTER = (
    "Probability of improvement: the share of pairs of runs (one of each method, same task) in which the method of the "
    "row ends with the higher test reward increase, ties counted half; mean over tasks."
)


def _cells(tables: Sequence[Table], method: str, key: str) -> list[Cell | None]:
    """Cell ``key`` of ``method`` in each table, ``None`` where the method has no run."""
    return [next((row.cells[key] for row in table.rows if row.method == method), None) for table in tables]


def mean_text(cell: Cell | None, digits: int = 3) -> str:
    """Mean over seeds with its interval, or the word that stands for it; "–" without a run."""
    if cell is None or cell.word:
        return cell.word if cell else "–"
    return with_interval(aggregate.mean_estimate(cell.values), digits, signed=True)


def runs_text(results: Results, method: str) -> str:
    """Number of runs of ``method`` over all tasks, diverged ones included."""
    return str(sum(run.method == method for run in results.runs))


def overall(results: Results, tables: Sequence[Table], improvements: Improvements) -> Sheet:
    """Methods × normalised score, its mean on each task, raw increases, probability of improvement over baselines.

    Without reference levels only raw increases and the probability of improvement are given.
    """
    levels = {task: aggregate.reference_increase(results, task) for task in results.tasks}
    entries = {entry.method: entry for entry in aggregate.aggregate(results)}
    baselines = [b for b in BASELINES if b in results.methods]
    header = ["method"]
    if entries:
        header += ["normalised score, IQM (95 % interval)", *[f"{t.title}: normalised score, mean" for t in tables]]
    header += [f"{t.title}: reward increase (95 % interval) [r₀ score]" for t in tables]
    header += [f"better than {style.label(b)} (95 % interval) [probability]" for b in baselines]
    rows = []
    for method in results.methods:
        cells = _cells(tables, method, "reward_increase")
        row = [style.label(method)]
        if entries:
            entry = entries[method]
            row.append(with_interval(entry.score, 2) if entry.score else entry.word)
            for table, cell in zip(tables, cells, strict=True):
                mean = entry.tasks[table.task]
                row.append(decimal(mean, 2) if mean is not None else cell.word if cell else "–")
        row += [mean_text(cell) for cell in cells]
        row += [_better(improvements, method, baseline) for baseline in baselines]
        rows.append((*row, runs_text(results, method)))
    notes = [
        "Reward increase: reward of the frozen r₀ at the end of the budget minus that of π₀, test split.",
        "Interval of an increase: 95 % percentile bootstrap of the mean over seeds.",
    ]
    if entries:
        frozen = ", ".join(f"{table.title} {levels[table.task]:.4g}" for table in tables)
        notes[:0] = [
            "Normalised score: reward increase over the task's frozen reference level, which is a validation reward "
            f"increase of the tuning search (0 is π₀, 1 the level). Levels of these runs [r₀ score]: {frozen}.",
            "IQM: mean of the middle half of all seeds × tasks. Its interval is a 95 % percentile bootstrap, "
            f"resampled within each task ({statistics.SAMPLES:,} samples).",
        ]
    else:
        without = ", ".join(results.title(task) for task, level in levels.items() if level is None)
        notes.insert(0, f"No score over tasks: no reference level is frozen for {without}, and rewards of different "
                        "reward models must not be averaged.")
    if controls := [style.label(m) for m in results.methods if m not in style.groups(results.methods)[""]]:
        notes.append(f"Controls, not methods to choose from: {', '.join(controls)}.")
    return Sheet(
        key="overall",
        title="Over all tasks" if len(tables) > 1 else f"Over all seeds: {tables[0].title}",
        intro="Every method at the end of the same budget" + (", the score over all tasks first." if entries else "."),
        header=(*header, "n [runs]"),
        rows=tuple(rows),
        notes=(*notes, *([BETTER] if baselines else []), FEW),
        reduced=results.reduced(),
    )


def _better(improvements: Improvements, method: str, than: str) -> str:
    """Cell of one pair: "–" for a method against itself, "n/a" where either has a word."""
    if method == than:
        return "–"
    found = improvements.get(method, {}).get(than)
    return with_interval(found, 2) if found else "n/a"


def improvement(results: Results, improvements: Improvements) -> Sheet | None:
    """Every method (row) against every other (column); ``None`` with a single method.

    ZOPrO's controls are rows alone where other methods stand beside them.
    """
    if len(results.methods) < 2:
        return None
    others = style.groups(results.methods)[""]
    left = [style.label(m) for m in results.methods if m not in improvements]
    notes = [
        BETTER,
        "Interval: 95 % percentile bootstrap, both methods resampled within each task. Where every run of one method "
        "beats every run of the other the interval has no width: resampling cannot show what was not drawn.",
        "n [runs]: over all tasks and seeds of the row's method.",
    ]
    if len(others) < len(results.methods):
        notes.append("ZOPrO's controls are held against the methods, not against each other.")
    if left:
        notes.append(f"n/a: a run diverged or a task is missing ({', '.join(left)}).")
    return Sheet(
        key="improvement",
        title="Probability of improvement",
        intro="How probable it is that a run of the row's method ends higher than one of the column's "
              "(95 % interval); 0.5 is no difference.",
        header=("method", *[f"over {style.label(m)}" for m in others], "n [runs]"),
        rows=tuple(
            (style.label(m), *[_better(improvements, m, other) for other in others], runs_text(results, m))
            for m in results.methods
        ),
        notes=(*notes, FEW),
        reduced=results.reduced(),
    )

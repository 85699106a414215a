"""The sheet over all tasks: what the judge says, the normalised score and the KL of every method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchmark.core import paired, statistics
from benchmark.reporting.plots import style
from benchmark.reporting.read import aggregate, scale
from benchmark.reporting.read.reader import Results
from benchmark.reporting.tables.headline import NOT_POWERED, PLUS_MINUS, change, estimate_text, left_out, of_unit
from benchmark.reporting.tables.per_task import Table, TableCell
from benchmark.reporting.tables.sheets import Sheet, with_interval

Improvements = Mapping[str, Mapping[str, aggregate.Estimate]]  # as aggregate.improvements gives them

BASELINES = ("rloo", "mezo")  # the first-order method that ZOPrO starts from, and plain zeroth-order descent
BETTER = (
    "Better than: the share of pairs of runs (one of each method, same task) in which the method of the row ends with "
    "the higher test reward increase, ties counted half; mean over tasks. Seeds are not paired here; the paired tables "
    "do that."
)


def coverage_note(results: Results, tasks: Sequence[str], trimmed: bool = False) -> str:
    """How often a bootstrap interval over these seeds covers the truth, as simulated."""
    sizes = tuple(results.seeds(task) for task in tasks)
    if min(sizes) < 2:
        return "A single seed has no interval."
    share = paired.coverage(sizes, trimmed) if trimmed else min(paired.coverage((size,), False) for size in sizes)
    what, n = ("interquartile mean", " + ".join(map(str, sizes))) if trimmed else ("mean", str(min(sizes)))
    return (f"A 95 % bootstrap interval of the {what} over so few seeds covers {100 * share:.0f} % (simulated for "
            f"normal values, n = {n}).")


def mean_text(cell: TableCell | None, digits: int = 3) -> str:
    """Mean over seeds with its interval, or the word that stands for it; "–" without a run."""
    if cell is None or cell.word:
        return cell.word if cell else "–"
    return with_interval(aggregate.mean_estimate(cell.values), digits, signed=True)


def runs_text(results: Results, method: str) -> str:
    """Number of runs of ``method`` over all tasks, diverged ones included."""
    return str(sum(run.method == method for run in results.runs))


def overall(results: Results, tables: Sequence[Table], improvements: Improvements) -> Sheet:
    """Methods × change of gold (or win rate), normalised score, KL, probability of improvement over baselines.

    The judge has a column where the same one judges every task; a score where r₀'s unit is known on every task, or
    there is but one.
    """
    entries = {entry.method: entry for entry in aggregate.aggregate(results)}
    units = {task: scale.unit(results, task) for task in results.tasks}
    judge = results.common_judge
    over = "" if len(tables) == 1 else ", mean over tasks"
    baselines = [b for b in BASELINES if b in results.methods]
    header = ["method"]
    if judge:
        header.append(f"{style.JUDGES[judge][0]} change{over} [{style.JUDGES[judge][1]}]")
    if entries:
        header.append("reward: normalised score, IQM (95 % interval) [sd of r₀]")
    elif len(tables) == 1:
        header.append("reward increase [r₀ score]")
    header.append(f"KL to π₀{over} [nats per completion]")
    header += [f"better than {style.label(b)} (95 % interval) [probability]" for b in baselines]
    rows = []
    for method in results.headline:
        word = aggregate.word(results, method)
        row = [style.label(method)]
        if judge:
            row.append(word or not_powered(results, method, judge, units)
                       or _over_tasks(results, method, judge, units))
        if entries:
            score = entries[method].score
            hidden = word or not_powered(results, method, "reward", units)
            row.append(with_interval(score, 2) if score and not hidden else hidden)
        elif len(tables) == 1:
            row.append(word or not_powered(results, method, "reward", units)
                       or _over_tasks(results, method, "reward", units))
        row.append(word or _over_tasks(results, method, "kl", units))
        row += [_better(improvements, method, baseline) for baseline in baselines]
        rows.append((*row, runs_text(results, method)))
    notes = [*dict.fromkeys(of_unit(unit) for unit in units.values()), PLUS_MINUS]
    if entries:
        notes.append("IQM: mean of the middle half of all seeds × tasks. Its interval is a 95 % percentile bootstrap, "
                     f"resampled within each task ({statistics.SAMPLES:,} samples). "
                     + coverage_note(results, results.tasks, trimmed=True))
    notes.append("Not powered: a change whose interval holds 0 and that could not have been told from 0 if it were "
                 "half the best first-order method's; the paired table has the figures.")
    if controls := [style.label(m) for m in results.headline if m not in style.groups(results.methods)[""]]:
        notes.append(f"Controls, not methods to choose from: {', '.join(controls)}.")
    return Sheet(
        key="overall",
        title="Over all tasks" if len(tables) > 1 else f"Over all seeds: {tables[0].title}",
        intro="Every method at the end of the same budget, test split: what the judge says, the reward of r₀, and the "
              "KL that was paid.",
        header=(*header, "n [runs]"),
        rows=tuple(rows),
        notes=(*notes, *([BETTER] if baselines else []), *left_out(results), *filter(None, [results.mixed_code()])),
        reduced=results.reduced(),
    )


def not_powered(results: Results, method: str, metric: str, units: Mapping[str, scale.Unit]) -> str:
    """The words for a change that could not have been seen over all tasks; empty where it could."""
    values = scale.differences(results, results.tasks, method, None, units, metric)
    asked = scale.mean_effect(results, results.tasks, metric, units)
    return "" if not values or scale.seen(paired.difference(values), asked) else NOT_POWERED


def _over_tasks(results: Results, method: str, metric: str, units: Mapping[str, scale.Unit]) -> str:
    """Mean over tasks of the means over seeds, with its standard error."""
    found = [one for task in results.tasks if (one := change(results, task, method, metric, units[task]))]
    if len(found) < len(results.tasks):
        return "n/a"
    errors = [error for _, error in found if error is not None]
    return estimate_text(statistics.mean([mean for mean, _ in found]),
                         math.hypot(*errors) / len(found) if len(errors) == len(found) else None,
                         signed=metric != "kl")


def _better(improvements: Improvements, method: str, than: str) -> str:
    """Cell of one pair: "–" for a method against itself, "n/a" where either has a word."""
    if method == than:
        return "–"
    found = improvements.get(method, {}).get(than)
    return with_interval(found, 2) if found else "n/a"

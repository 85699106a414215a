"""The second account: the reward model's training and its labels, charged to the methods that learn from it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet, decimal


def labels(results: Results, tables: Sequence[Table]) -> Sheet | None:
    """Tasks and methods × forward tokens and labels, those of the reward model included; None for runs that are older
    than these records."""
    rows = [(table.title, style.label(row.method), *_cells(runs), str(len(runs)))
            for table in tables for row in table.rows if (runs := _known(results, table.task, row.method))]
    if not rows:
        return None
    return Sheet(
        key="labels",
        title="The reward model charged to those who use it",
        intro="Budgets leave out what all share. Here the training of r₀ and the labels of its refinements are added "
              "to the methods that learn from its scores.",
        header=("task", "method", "forward tokens of the run [millions]", "training of r₀ [millions]",
                "both [millions]", "labels of r₀ [pairs and scores]", "labels of refinements [pairs]",
                "labelled pairs read by the method itself [pairs]", "passes over them", "n [runs]"),
        rows=tuple(rows),
        notes=("A method learns from r₀ if the reward model scored completions for it. A label counts once however "
               "often it is read. Means over n seeds.",),
        reduced=results.reduced(),
    )


def _known(results: Results, task: str, method: str) -> list[FinishedRun]:
    return [run for run in results.of(task, method)
            if run.environment.preparation and run.environment.preparation.reward_tokens is not None]


def _cells(runs: Sequence[FinishedRun]) -> tuple[str, ...]:
    spent, training, first, later, own, passes = zip(*map(_of_run, runs), strict=True)
    return (decimal(mean(spent), 2), decimal(mean(training), 2), decimal(mean(spent) + mean(training), 2),
            decimal(mean(first), 0), decimal(mean(later), 0), decimal(mean(own), 0), decimal(mean(passes), 2))


def _of_run(run: FinishedRun) -> tuple[float, ...]:
    start, summary, pairs = run.environment.preparation, run.summary, run.environment.data.pairs or 0
    scored, read = bool(summary.spent.completions), summary.pairs_read or 0
    assert start is not None  # as _known says
    return ((summary.spent.forward_tokens or 0.0) / 1e6, (start.reward_tokens or 0.0) / 1e6 * scored,
            (start.reward_labels or 0) * scored, (summary.refinement_labels or 0) * scored,
            min(read, pairs) if pairs else read, read / pairs if pairs else 0.0)

"""The tables of a sweep: reward and gold at every budget, and the forward tokens for half of RLOO's gain."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import FULL_PROTOCOL_SEEDS
from benchmark.reporting.tables.sheets import Sheet, decimal
from benchmark.studies.sweep.analysis import ERRORS, Half, SweepCell, grouped
from benchmark.studies.sweep.points import amount

METRICS = {"reward": ("reward increase", "r₀ score", 3), "gold": ("change in gold score", "0–1", 3)}
RULE = (
    "RLOO's gain: the increase of its validation reward over π₀ at the end of its largest budget, mean over seeds, for "
    "the same task and the same trained parameters. Half of it is the effect that is asked about.",
    "Forward tokens: where the method's mean validation curve over seeds first reaches it, by linear interpolation "
    "between evaluations and never beyond the curve; of its budgets the one at which this takes least. Budgets at "
    "which a seed diverged are left out.",
    "Not reached: no curve gets there within the largest budget.",
    f"Not powered: {ERRORS:g} standard errors of the method's increase at its largest budget are more than the effect, "
    f"or RLOO's gain is not {ERRORS:g} of its own standard errors above 0. Such a cell says nothing about the method.",
)
ERROR = (
    "Standard error (±): over seeds, or from prompts and completions, whichever is larger. A single seed has the "
    "latter alone, runs of protocol 1.1 the former."
)


def trained(cell: SweepCell) -> str:
    """``final-norm, d = 192``."""
    size = "" if cell.trained is None else f"d = {cell.trained:,}"
    return ", ".join(filter(None, (cell.dimension, size))) or "as in the profile"


def points(every: Sequence[SweepCell], notes: Sequence[str] = ()) -> Sheet:
    """A row a task, setting and method; a column a metric and budget.

    Args:
        notes: further sentences under the table.
    """
    budgets = sorted({cell.budget.limit for cell in every})
    kind = style.BUDGETS[every[0].budget.kind]
    shown = {name: words for name, words in METRICS.items() if any(cell.changes(name) for cell in every)}
    rows = []
    for group in grouped(every, "task", "dimension", "method").values():
        own, first = {cell.budget.limit: cell for cell in group}, group[0]
        texts = [_text(own.get(limit), name, words[2]) for name, words in shown.items() for limit in budgets]
        counts = {len(cell.runs) for cell in group}
        rows.append((first.results.title(first.task), trained(first), style.label(first.method), *texts,
                     " to ".join(map(str, sorted({min(counts), max(counts)})))))
    return Sheet(
        "sweep", "Reward and gold against the budget",
        "Test metrics at the end of the budget minus those of π₀: mean over seeds ± standard error.",
        ("task", "trained", "method", *(f"{words} at {amount(limit)} [{unit}]" for words, unit, _ in shown.values()
                                        for limit in budgets), "n [runs]"),
        tuple(rows),
        (f"Budgets are in {kind}; each is a run of its own, for schedules and iterations are shares of a budget. "
         f"Hyperparameters are those of the profile at every point.", ERROR, "n: seeds of a point.", *notes),
        reduced(every))


def _text(cell: SweepCell | None, metric: str, digits: int) -> str:
    if cell is None:
        return "–"
    if cell.lost:
        return f"diverged ({cell.lost} of {len(cell.runs)})"
    found = cell.estimate(metric)
    return _estimate(*found, digits) if found else "n/a"


def _estimate(value: float, error: float | None, digits: int) -> str:
    return decimal(value, digits, signed=True) + ("" if error is None else f" ± {decimal(error, digits)}")


def half(found: Sequence[Half]) -> Sheet | None:
    """A row a task, setting and method; None where RLOO was not run."""
    if not found:
        return None
    tokens = {(half.cell.task, half.cell.dimension, half.cell.method): half.tokens for half in found}
    rows = []
    for each in found:
        cell, own = each.cell, each.tokens
        first = tokens[cell.task, cell.dimension, "rloo"]
        rows.append((
            cell.results.title(cell.task), trained(cell), style.label(cell.method),
            "–" if each.target is None else decimal(each.target, 3, signed=True),
            each.word if own is None else decimal(own, 0), "–" if own is None or not first else f"{own / first:.2f}",
            "diverged" if cell.lost else _estimate(each.gain, each.error, 3), decimal(each.largest, 0),
            str(len(cell.runs))))
    return Sheet(
        "half", "Forward tokens for half of RLOO's gain",
        "What each method spent until it had half of what RLOO gains on the same trained parameters.",
        ("task", "trained", "method", "half of RLOO's gain [r₀ score]", "forward tokens to it", "against RLOO [×]",
         "increase at the largest budget [r₀ score]", "spent there [forward tokens]", "n [runs]"),
        tuple(rows), (*RULE, ERROR), reduced([each.cell for each in found]))


def reduced(every: Sequence[SweepCell]) -> str:
    """The words of a table with too few seeds."""
    fewest = min(len(cell.runs) for cell in every)
    return "" if fewest >= FULL_PROTOCOL_SEEDS else (
        f"reduced protocol ({fewest} seed{'s' if fewest != 1 else ''}), not comparable")

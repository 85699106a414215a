"""The table of one task: rows are methods, columns are readings of the same runs; ``formats`` writes it down.

A cell is a mean over seeds, or a word. Where any seed diverged the whole reading is the word "diverged": a mean over
the seeds that survived would flatter the method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.core import statistics
from benchmark.core.records import HealthFigures, Summary
from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun, number

Value = Callable[[FinishedRun], float | None]


@dataclass(frozen=True)
class Column:
    """One reading.

    Attributes:
        key: name in the CSV. title, unit: what the header says.
        group: key of ``GROUPS``: which block of the table it stands in.
        value: run → number, ``None`` where the run has none.
        start: run → number at π₀, for columns that read "start → end".
        outcome: whether a diverged run makes it a word (costs are known for diverged runs too).
        digits: decimals. scientific: one digit and an exponent instead. signed: show "+". seeds: show sd and every
            seed.
        word: run → a word that stands for the cell, "" for none.
        at, at_unit: where on the curve it was read, for the readings at equal time and equal compute.
        methods: those that have the reading; empty for all.
    """

    key: str
    title: str
    unit: str
    group: str
    value: Value
    start: Value | None = None
    outcome: bool = True
    digits: int = 3
    scientific: bool = False
    signed: bool = False
    seeds: bool = False
    word: Callable[[FinishedRun], str] = lambda run: ""
    at: float | None = None
    at_unit: str = ""
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableCell:
    """Mean over seeds (``None`` where ``word`` stands instead), sd with n − 1, every seed, and the mean at π₀."""

    mean: float | None
    sd: float | None = None
    values: tuple[float | None, ...] = ()
    start: float | None = None
    word: str = ""
    lost: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Row:
    """One method: cells by column key, seeds, number of diverged runs, marks of its footnotes."""

    method: str
    cells: dict[str, TableCell]
    seeds: tuple[int, ...]
    diverged: int
    marks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def n(self) -> str:
        return f"{len(self.seeds)} ({self.diverged} diverged)" if self.diverged else str(len(self.seeds))


@dataclass(frozen=True)
class Table:
    """All readings of one task.

    Attributes:
        reduced: the words a table with too few seeds carries, else empty.
        notes: sentences under the table. footnotes: mark → text.
    """

    task: str
    title: str
    profile: str
    reduced: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    footnotes: dict[str, str] = field(default_factory=dict)

    def groups(self) -> list[tuple[str, tuple[Column, ...], tuple[Row, ...]]]:
        """Key, columns and rows of each block; a method that has none of a block's readings is not in it."""
        found = []
        for group in GROUPS:
            if columns := tuple(c for c in self.columns if c.group == group):
                found.append((group, columns, tuple(row for row in self.rows
                                                    if any(row.cells[c.key].word != "–" for c in columns))))
        return found


GROUPS = {
    "end": "At the end of the budget (test split)",
    "equal": "The same runs read at equal compute, and at equal time where each had the machine alone (validation "
             "split, linear interpolation)",
    "equal_ablation": "ZOPrO and its controls, read at the largest compute (and time) that all of these reached",
    "area": "Over the whole budget (validation split)",
    "cost": "What it cost (optimisation only; evaluation and what all methods share are not in it)",
    "health": "Numerical health of the zeroth-order updates (median over a run; L₊, L₋: the two losses)",
}

# metric → (title, unit, decimals)
TASK_METRICS = {
    "rougeL": ("ROUGE-L", "F, 0–1", 3),
    "chrf": ("chrF", "0–100", 2),
    "bleu": ("BLEU", "0–100", 2),
}
# key, title, unit, decimals, summary → cost
COSTS: tuple[tuple[str, str, str, int, Callable[[Summary], float | None]], ...] = (
    ("seconds", "optimisation time", "s", 1, lambda of: of.spent.seconds),
    ("forward_tokens", "forward tokens", "millions", 3,
     lambda of: of.spent.forward_tokens and of.spent.forward_tokens / 1e6),
    ("generated_tokens", "generated tokens", "millions", 3,
     lambda of: of.spent.generated_tokens and of.spent.generated_tokens / 1e6),
    ("computed_tokens", "computed tokens", "millions", 3,
     lambda of: of.spent.computed_tokens and of.spent.computed_tokens / 1e6),
    ("completions", "completions", "count", 0, lambda of: of.spent.completions),
    ("updates", "updates", "count", 0, lambda of: of.spent.updates),
    ("memory_loaded", "memory before the first update", "MiB", 0, lambda of: of.peak_memory_mib.get("loaded")),
    ("peak_memory", "peak memory", "MiB", 0, lambda of: of.peak_memory_mib.get("optimisation")),
    ("peak_memory_warm_start", "peak memory, warm start", "MiB", 0, lambda of: of.peak_memory_mib.get("warm_start")),
    ("wall_seconds", "wall time of the run", "s", 1, lambda of: of.wall_seconds),
)


def _end(name: str) -> Value:
    return lambda run: run.metric("final", name)


def _start(name: str) -> Value:
    return lambda run: run.metric("initial", name)


def _change(name: str) -> Value:
    return lambda run: run.change(name)


def _cost(of: Callable[[Summary], float | None]) -> Value:
    return lambda run: number(of(run.summary))


def _area(run: FinishedRun) -> float | None:
    x, y = run.series("forward_tokens", "reward")
    return statistics.area_under_curve(x, y - y[0]) if x.size > 1 and x[-1] > x[0] else None


def _increase_at(kind: str, at: float) -> Value:
    def value(run: FinishedRun) -> float | None:
        x, y = run.series(kind, "reward")
        if y.size == 0 or not x[0] <= at <= x[-1]:
            return None
        return statistics.value_at(x, y, at) - float(y[0])

    return value


def common_reach(results: Results, task: str, kind: str, methods: Sequence[str]) -> float | None:
    """Largest ``kind`` (a spent amount) that every run of ``methods`` reached; diverged runs do not shorten it."""
    runs = [run for method in methods for run in results.of(task, method)]
    ends = [run.series(kind, "reward")[0] for run in runs if not run.diverged]
    return min(float(x[-1]) for x in ends) if ends and all(x.size for x in ends) else None


def _columns(results: Results, task: str) -> tuple[Column, ...]:
    runs = results.of(task)
    columns = [
        Column("reward", "reward, π₀ → end", "r₀ score", "end", _end("reward"), _start("reward")),
        Column("reward_increase", "reward increase", "r₀ score", "end", _change("reward"), signed=True, seeds=True),
    ]
    if judge := results.judge(task):
        title, unit = style.JUDGES[judge]
        columns += [
            Column(judge, f"{title}, π₀ → end", unit, "end", _end(judge), _start(judge)),
            Column(f"{judge}_change", f"{title} change", unit, "end", _change(judge), signed=True, seeds=True),
        ]
    columns += [
        Column("kl", "KL to π₀", "nats per completion", "end", _end("kl")),
        Column("length", "completion length, π₀ → end", "tokens", "end", _end("length"), _start("length"), digits=1),
        Column("ended", "share that end, π₀ → end", "0–1", "end", _end("ended"), _start("ended"), digits=2),
    ]
    for name, (title, unit, digits) in TASK_METRICS.items():
        if any(r.metric("initial", name) is not None for r in runs):
            columns.append(Column(name, f"{title}, π₀ → end", unit, "end", _end(name), _start(name), digits=digits))
    columns += _equal_columns(results, task)
    columns.append(Column(
        "reward_area", "area under the reward curve over compute, divided by compute (mean increase)", "r₀ score",
        "area", _area, signed=True, seeds=True))

    columns += [
        Column(key, title, unit, "cost", _cost(of), outcome=False, digits=digits)
        for key, title, unit, digits, of in COSTS if any(of(run.summary) is not None for run in runs)]
    return (*columns, *_health_columns(runs))


def _equal_columns(results: Results, task: str) -> list[Column]:
    """Increase at the largest compute that all runs reached, and at the largest time if no two ran at the same time.

    ZOPrO's controls are read for themselves where other methods stand beside them: one that ends early must not shorten
    the methods that are compared.
    """
    columns, present = [], results.methods_of(task)
    alone = all(run.environment.workers in (0, 1) for run in results.of(task))
    for suffix, group in style.groups(results.methods).items():
        methods = tuple(m for m in group if m in present)
        if suffix and len(methods) < 2:
            continue
        for key, kind, words, unit, digits in (
            ("equal_time", "seconds", "equal time", "s", 1),
            ("equal_compute", "forward_tokens", "equal compute", "forward tokens", 0),
        ):
            if kind == "seconds" and not alone:
                continue
            if (at := common_reach(results, task, kind, methods)) is not None:
                columns.append(Column(
                    f"reward_increase_{key}{suffix}", f"reward increase at {words}, {at:,.{digits}f} {unit}",
                    "r₀ score", f"equal{suffix}", _increase_at(kind, at), signed=True, seeds=True, at=at, at_unit=unit,
                    methods=methods))
    return columns


def _health_columns(runs: Sequence[FinishedRun]) -> list[Column]:
    if not any(run.summary.health for run in runs):
        return []

    def column(key: str, title: str, unit: str, of: Callable[[HealthFigures], float | None], **form: Any) -> Column:
        return Column(key, title, unit, "health", lambda run: of(run.summary.health) if run.summary.health else None,
                      outcome=False, **form)

    def below(run: FinishedRun) -> str:
        return "below noise" if any(w.startswith("below noise") for w in run.summary.warnings) else ""

    return [
        column("signal_to_noise", "|L₊ − L₋| / noise floor", "ratio", lambda of: of.median_signal_to_noise, digits=1,
               seeds=True, word=below),
        column("below_noise", "updates below noise", "share", lambda of: of.below_noise, digits=2),
        column("relative_perturbation", "‖εz‖/‖θ‖", "ratio", lambda of: of.median_relative_perturbation,
               scientific=True),
        column("changed_share", "entries that εz changes", "share", lambda of: of.median_changed_share),
        column("step_cosine", "|cosine of step and z|", "0–1", lambda of: of.median_step_cosine),
        column("step_norm", "norm of a step", "‖Δθ‖", lambda of: of.median_step_norm, scientific=True),
    ]


def _cell(column: Column, runs: Sequence[FinishedRun]) -> TableCell:
    if column.methods and runs[0].method not in column.methods:
        return TableCell(None, word="–")
    lost = tuple(column.outcome and run.diverged for run in runs)
    values = tuple(None if gone else column.value(run) for gone, run in zip(lost, runs, strict=True))
    start = None
    if column.start is not None:
        starts = [column.start(run) for run in runs]
        start = statistics.mean([s for s in starts if s is not None]) if None not in starts else None
    if any(lost):
        return TableCell(None, None, values, start, "diverged", lost)
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        # Never a mean over fewer seeds than n says; a dash is for what the method does not have at all.
        word = f"n/a ({len(values) - len(known)} of {len(values)} seeds)" if known or column.outcome else "–"
        return TableCell(None, None, values, start, word, lost)
    if word := next(filter(None, map(column.word, runs)), ""):
        return TableCell(None, None, values, start, word, lost)
    return TableCell(statistics.mean(known), statistics.sd(known), values, start, "", lost)


def _marks(results: Results, task: str) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Footnote marks of each method, and mark → text; warnings of one kind (the words before the colon) share one."""
    marks: dict[str, tuple[str, ...]] = {}
    footnotes: dict[str, str] = {}
    for method in results.methods_of(task):
        kinds: dict[str, dict[str, list[int]]] = {}
        for run in results.of(task, method):
            for warning in run.summary.warnings:
                text = " ".join(warning.split())
                kinds.setdefault(text.partition(":")[0], {}).setdefault(text, []).append(run.seed)
        own = []
        for texts in kinds.values():
            own.append(mark := _letters(len(footnotes)))
            listed = "; ".join(f"seed{'s' if len(of) > 1 else ''} {', '.join(map(str, of))}: {text}"
                               for text, of in texts.items())
            footnotes[mark] = f"{style.label(method)}, {listed}"
        marks[method] = tuple(own)
    return marks, footnotes


def _letters(i: int) -> str:
    return chr(ord("a") + i) if i < 26 else _letters(i // 26 - 1) + _letters(i % 26)


def build(results: Results, task: str) -> Table:
    """Table of ``task`` with its notes and footnotes."""
    columns = _columns(results, task)
    marks, footnotes = _marks(results, task)
    rows = []
    for method in results.methods_of(task):
        runs = results.of(task, method)
        rows.append(Row(method, {c.key: _cell(c, runs) for c in columns}, tuple(r.seed for r in runs),
                        sum(r.diverged for r in runs), marks[method], tuple(footnotes[m] for m in marks[method])))
    sizes = sorted({size for run in results.of(task) if (size := run.summary.trained_parameters)})
    notes = (
        "Mean over n seeds; ± is the sample standard deviation (n − 1); [ ] lists every seed, smallest seed first.",
        "Reward is the score of the frozen initial reward model r₀. Increase and change are end minus π₀.",
        f"Budget of every run: {results.budget(task)}. Data: {results.data(task)}.",
        *filter(None, [results.mixed_code(task)]),
        f"{results.counts([task])}.",
        *([f"d = {' or '.join(f'{size:,}' for size in sizes)} trained parameters."] if sizes else []),
    )
    return Table(task, results.title(task), results.profile(task), results.reduced(task), columns, tuple(rows), notes,
                 footnotes)

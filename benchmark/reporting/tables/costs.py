"""The sheet of what an update costs: forward passes and seconds, predicted and measured, and peak memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import NamedTuple

from baselines.registry import OBJECTIVES, find, get_method
from benchmark.core.meter import METHOD_LEDGERS
from benchmark.core.naming import load
from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun, number
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet, decimal

NOTABLE = 0.15  # a measured cost this far from the predicted one is explained


@dataclass(frozen=True)
class Cost:
    """One run's account, sums over the run.

    Attributes:
        sequences: completions sampled, or sequences of pairs seen for the first time; of a loss that samples whenever
            it is read, those of one reading an update. sampled: completions scored, those of every reading.
        updates: number of updates. per_update: sequences in each.
        rollout_tokens, update_tokens: forward tokens booked. rollout_seconds, update_seconds: time.
    """

    sequences: float
    sampled: float
    updates: float
    per_update: float
    rollout_tokens: float
    update_tokens: float
    rollout_seconds: float
    update_seconds: float

    @property
    def tokens(self) -> float:
        return self.rollout_tokens + self.update_tokens

    @property
    def seconds(self) -> float:
        return self.rollout_seconds + self.update_seconds


class Passes(NamedTuple):
    """Forward passes per completion: of its rollout, of each update on it; number of updates on a rollout."""

    rollout: int
    update: int
    updates: int

    @property
    def in_all(self) -> int:
        return self.rollout + self.updates * self.update


def predicted(run: FinishedRun) -> Passes | None:
    """What the method costs by its definition; ``None`` for one that the registry does not know, or that does not say.

    A reward model or a critic counts as large as the policy, the trained share of an adapter as nothing; what a rollout
    and an update cost, objective and estimator say (docs/methods/*.md, "Cost").
    """
    known = find(run.method)
    settings, adapter = run.section("method"), run.section("adapter")
    if known is None or not settings:
        return None
    whole = adapter.get("kind") == "full" and not adapter["only"]
    try:
        values = known.check({name: settings[name] for name in known.fields() if name in settings}, run.name)
        update = known.estimator.passes(known.resolved({known.name: values}), whole)
        objective = load(OBJECTIVES[known.objective].target)
        return Passes(objective.rollout_passes, update * objective.reading_passes, values.get("epochs", 1))
    except Exception:  # parts may be a plugin's: one that cannot say it costs its cell, not the report
        return None


def account(run: FinishedRun) -> Cost | None:
    """What ``run`` booked; ``None`` where its summary lacks a ledger."""
    spent, ledgers = run.summary.spent, (run.summary.ledger_tokens, run.summary.ledgers)
    found = [number(value) for value in (spent.updates, run.section("loop").get("sequences_per_update"),
                                         *(ledger.get(name) for ledger in ledgers for name in METHOD_LEDGERS))]
    values = [value for value in found if value is not None]
    if len(values) < len(found) or 0 in values[:2] or not any(values[2:4]):
        return None
    if not values[2]:  # no rollouts: the objective samples in its readings
        return Cost(values[0] * values[1], spent.completions or 0, *values)
    # Offline pairs are not completions; π₀ passes over each pair once, in shuffled passes over all of them.
    pairs = run.environment.data.pairs
    seen = values[0] * values[1] if pairs is None else min(values[0] * values[1], 2 * pairs)
    return Cost(spent.completions or seen, spent.completions or 0, *values)


def passes(run: FinishedRun) -> float | None:
    """Forward passes booked per completion: all tokens over the tokens of one pass over every completion.

    Run directories do not keep the length of the sequences; one pass is what the rollout booked, divided by the passes
    that a rollout consists of; without rollouts, what a sampled completion costs of them, by definition.
    """
    known, cost = predicted(run), account(run)
    if known is None or cost is None:
        return None
    if cost.rollout_tokens:
        return known.rollout * cost.tokens / cost.rollout_tokens
    objective = load(OBJECTIVES[get_method(run.identity.method).objective].target)
    return objective.reading_passes * cost.sampled / cost.sequences


def _remark(run_costs: Sequence[Cost], known: Passes, booked: float, gap: float, rate: float) -> str:
    """Where a cost lies more than ``NOTABLE`` off: in the number of updates, in the rollouts' or the updates' time."""
    words = []
    if abs(booked / known.in_all - 1) > NOTABLE:
        made = mean(c.updates * c.per_update / c.sequences for c in run_costs)
        each = (booked - known.rollout) / made
        words.append(f"{made:.1f} updates of {each:.1f} passes on each rollout or pair, "
                     f"{known.updates} of {known.update} by definition")
    if abs(gap) > NOTABLE:
        sides = {"rollouts": [(c.rollout_seconds, c.rollout_tokens) for c in run_costs],
                 "updates": [(c.update_seconds, c.update_tokens) for c in run_costs]}
        off = [f"{name} {decimal(100 * (mean(s / t for s, t in side) / rate - 1), 0, signed=True)} %"
               for name, side in sides.items() if all(tokens for _, tokens in side)]
        words.append(f"seconds for their tokens: {', '.join(off)}")
    return "; ".join(words) or "–"


def cost(results: Results, tables: Sequence[Table]) -> Sheet:
    """Tasks and methods × forward passes per completion, seconds per update, peak memory."""
    measured = [("memory before the first update [MiB]", "memory_loaded", 0),
                ("peak memory, optimisation [MiB]", "peak_memory", 0),
                ("peak memory, warm start [MiB]", "peak_memory_warm_start", 0)]
    for title, key in (("tokens generated [millions]", "generated_tokens"),
                       ("forward tokens computed [millions]", "computed_tokens")):
        if any(key in row.cells for table in tables for row in table.rows):  # older runs did not count them
            measured.append((title, key, 3))
    rows = [row for table in tables for row in _rows(results, table, measured)]
    return Sheet(
        key="cost",
        title="Cost of an update: predicted and measured",
        intro="What the definition of a method says it costs, what the token account booked, and what the clock said.",
        header=(
            "task", "method", "forward passes per completion, predicted", "forward passes per completion, booked",
            "time of an update, predicted [s]", "time of an update, measured [s]", "measured against predicted [%]",
            f"where it lies (differences above {100 * NOTABLE:.0f} %)",
            *(title for title, *_ in measured), "n [runs]",
        ),
        rows=tuple(rows),
        notes=(
            "Predicted passes: generation, π₀ and reward model one each, PPO's critic one, then for each update on the "
            "rollout two (forward and backward of an adapter, or the two forwards of a zeroth-order update), twice "
            "that with a critic; per sequence of the task's own pairs: π₀ one, update two. With all parameters trained "
            "backpropagation takes three. The warm start is counted like the updates after it.",
            "Booked passes: all forward tokens of a run, in units of one pass over its completions, as its rollouts "
            "booked it.",
            *(["Computed tokens: what is left of the booked ones where rows share a prompt, or readings of a batch "
               "what lies below the first trained parameter. Budgets count what is booked."]
              if any(key == "computed_tokens" for _, key, _ in measured) else []),
            "Predicted time: forward tokens booked per update × the seconds that a forward token takes in the median "
            "over the methods of the task: were tokens a perfect measure of time, all differences would be 0.",
            *(["The median is over the methods that are compared: ZOPrO's controls do not set the pace."]
              if len(style.groups(results.methods)) > 1 else []),
            "Memory: with CUDA what tensors have allocated; on a CPU the resident set of the run's process "
            "(interpreter, libraries, models and data included), its high-water mark reset, and freed memory handed "
            "back, before the phase. The difference to the column before the first update is what optimisation needs.",
            "Optimisation only (rollouts and updates). Means over n seeds; no reading of the outcome is in it.",
        ),
        reduced=results.reduced(),
    )


def _rows(results: Results, table: Table, also: Sequence[tuple[str, str, int]]) -> list[tuple[str, ...]]:
    accounts = {m: [cost for run in results.of(table.task, m) if (cost := account(run))]
                for m in results.methods_of(table.task)}
    whole = {m: costs for m, costs in accounts.items() if len(costs) == len(results.of(table.task, m))}
    rates = {m: mean(c.seconds / c.tokens for c in costs) for m, costs in whole.items()}
    compared = [rates[m] for m in style.groups(results.methods)[""] if m in rates]
    rate = median(compared or rates.values()) if rates else None
    rows = []
    for row in table.rows:
        runs, costs = results.of(table.task, row.method), whole.get(row.method)
        known = predicted(runs[0])
        cells = ["–"] * 6
        if costs and known and rate is not None:
            booked = mean(found for run in runs if (found := passes(run)) is not None)
            measured = mean(c.seconds / c.updates for c in costs)
            expected = rate * mean(c.tokens / c.updates for c in costs)
            gap = measured / expected - 1
            cells = [decimal(known.in_all, 0), decimal(booked, 2), decimal(expected, 3),
                     decimal(measured, 3), decimal(100 * gap, 0, signed=True), _remark(costs, known, booked, gap, rate)]
        rows.append((table.title, style.label(row.method), *cells,
                     *(_mean(row.cells, key, digits) for _, key, digits in also), row.n))
    return rows


def _mean(cells: dict, key: str, digits: int) -> str:
    """Mean over seeds, or the word of the task's table; "–" where no run measured it."""
    found = cells.get(key)
    return "–" if found is None else found.word or decimal(found.mean, digits)

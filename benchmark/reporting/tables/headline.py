"""The headline of a task: gold, or the judge's win rate, reward and KL beside each other, and the frontiers of the two
over KL. A reward that was bought with KL, or that the judge does not share, shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmark.core import paired, statistics
from benchmark.reporting.plots import style
from benchmark.reporting.read import scale
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun
from benchmark.reporting.read.scale import FIXED_KL, Unit
from benchmark.reporting.tables.per_task import Table
from benchmark.reporting.tables.sheets import Sheet, decimal

NOT_POWERED = "not powered"
ABOVE = "†"  # marks an increase above its bound
PLUS_MINUS = (
    "± is the standard error of the mean over seeds: from the spread of the seeds or, where runs kept it, from prompts "
    "and completions, whichever is larger.")
UNITS = {  # of a reward: (known, from samples) → sentence
    (True, False): "Reward is in standard deviations of r₀ over π₀'s completions of the same task and seed (test "
                   "split); 0 is π₀. Raw increases are in the task's own table.",
    (True, True): "Reward is in standard deviations of r₀ over the few samples of π₀ that these runs kept of the same "
                  "task and seed: a rough unit, for the runs are older than its record. 0 is π₀.",
    (False, False): "Reward is raw (r₀ score): these runs keep nothing to take r₀'s standard deviation from, so it "
                    "must not be averaged over tasks.",
}


def of_unit(unit: Unit) -> str:
    """The sentence that says what a reward is measured in."""
    return UNITS[unit.of_seed is not None, unit.samples]


def left_out(results: Results) -> list[str]:
    """The sentence that says which methods a headline does not show, if any."""
    hidden = [style.label(m) for m in results.methods if m not in results.headline]
    words = f"Published settings are shown of all main methods or of none: without {', '.join(hidden)}."
    return [words] if hidden else []


def estimate_text(mean: float, error: float | None, digits: int = 3, signed: bool = True) -> str:
    """``+0.830 ±0.070``."""
    return decimal(mean, digits, signed) + ("" if error is None else f" ±{error:.{digits}f}")


def headline(results: Results, table: Table) -> Sheet:
    """Methods × gold, reward, KL; reward at a fixed KL; areas under the frontiers; the bound; a verdict in words."""
    task, judge, unit = table.task, results.judge(table.task), scale.unit(results, table.task)
    metrics = [judge, "reward"] if judge else ["reward"]
    asked = {metric: scale.effect(results, task, metric, unit) for metric in metrics}
    name = style.JUDGES[judge][0] if judge else ""
    gold = gold_scale(results, task) if judge == "gold" else {}
    header = ["method"]
    if judge:
        header.append(f"{name} change [{style.JUDGES[judge][1]}]")
    if gold:
        header.append("gold between best constant and demonstrations, π₀ → end [0–1]")
    header += [f"reward increase [{unit.name}]", f"bound √(2 KL) [{unit.name}]"] if unit.of_seed else [
        f"reward increase [{unit.name}]"]
    header += ["KL to π₀ [nats per completion]", f"reward at KL {FIXED_KL} [{unit.name}]",
               f"area, reward over KL to {FIXED_KL} [{unit.name}]"]
    if judge:
        header.append(f"area, {name} over KL to {FIXED_KL} [{style.JUDGES[judge][1]}]")
    header += ["verdict", "n [runs]"]
    rows = []
    for method in (m for m in results.headline if results.of(task, m)):
        runs = results.of(task, method)
        cells = _cells(runs, metrics, unit, asked, gold)
        if lost := sum(run.diverged for run in runs):
            cells = [f"diverged ({lost} of {len(runs)} runs)"] * (len(header) - 2)
        rows.append((style.label(method), *(cells or ["n/a"] * (len(header) - 2)), str(len(runs))))
    return Sheet(
        key=f"headline_{task}", title=f"{table.title}: what was gained, and what it cost",
        intro="Every method at the end of the same budget, test split. The proxy is the reward of r₀, the goal is what "
              "the judge says, the price is KL.",
        header=tuple(header), rows=tuple(rows),
        notes=(of_unit(unit), PLUS_MINUS, *_notes(results, judge, unit, asked, gold), *left_out(results)),
        reduced=results.reduced(task))


def _notes(results: Results, judge: str | None, unit: Unit, asked: dict[str, float | None],
           gold: dict[str, float]) -> list[str]:
    notes = []
    if gold:
        listed = ", ".join(f"{words} {gold[key]:.3f}" for key, words in (
            ("constant", "best constant text"), ("copy", "the prompt copied"), ("demonstrations", "demonstrations"),
            ("references", "references"))
            if key in gold)
        notes.append(f"Gold of answers that need no model (mean over seeds): {listed}.")
    if unit.of_seed:
        notes.append(f"Bound: to leading order no increase exceeds √(2 KL) standard deviations of r₀; {ABOVE} marks a "
                     "mean increase above the mean bound of its runs: part of it is noise of the evaluation.")
    notes.append(
        f"At KL {FIXED_KL} and areas: read on the frontier of the validation split, the best change at no more than "
        f"each KL, joined by lines from (0, 0), level beyond its last point; an area is its mean height up to "
        f"KL {FIXED_KL}. The best of several noisy readings is somewhat too high"
        + ("; a reward counts up to its bound." if unit.of_seed else "."))
    if judge:
        notes.append(f"Over-optimised: the reward rises and {style.JUDGES[judge][0]} falls, each by more than its "
                     "standard error.")
    listed = ", ".join(f"{style.JUDGES[metric][0] if metric in style.JUDGES else metric} {value:.3f}"
                       for metric, value in asked.items() if value is not None)
    if listed:
        notes.append("Not powered: 0 lies in Student's 95 % interval over seeds, and the minimal detectable difference "
                     f"(80 % power) exceeds the effect asked about, half the best first-order method's: {listed}.")
    return notes


def gold_scale(results: Results, task: str) -> dict[str, float]:
    """Mean over seeds of the gold that answers without a model get; empty where it was not recorded for every seed."""
    starts = results.starts(task)
    found = [start.gold_scale for start in starts if start.gold_scale]
    if not found or len(found) < len({run.seed for run in results.of(task)}):
        return {}
    return {key: statistics.mean([one[key] for one in found]) for key in found[0]}


def _mean(runs: Sequence[FinishedRun], of: Callable[[FinishedRun], float | None],
          own: Callable[[FinishedRun], float | None] = lambda run: None) -> tuple[float, float | None] | None:
    """Mean over runs and its standard error; ``None`` where one of them has no value."""
    values = [value for run in runs if (value := of(run)) is not None]
    return statistics.mean_and_error(values, [own(run) for run in runs]) if len(values) == len(runs) else None


def change(results: Results, task: str, method: str, metric: str, unit: Unit) -> tuple[float, float | None] | None:
    """Mean change of a test metric and its standard error; ``None`` where a run of the method has none."""
    return _change(results.of(task, method), metric, unit)


def _change(runs: Sequence[FinishedRun], metric: str, unit: Unit) -> tuple[float, float | None] | None:
    return _mean(runs, lambda run: scale.change(run, metric, unit), lambda run: scale.error(run, metric, unit))


def _on_frontier(runs: Sequence[FinishedRun], metric: str, unit: Unit,
                 reading: Callable[[Sequence[float], Sequence[float], float], float]) -> str:
    def of(run: FinishedRun) -> float | None:
        kl, gains = scale.curve(run, metric, unit)
        return reading(kl, gains, FIXED_KL) if kl else None

    found = _mean(runs, of)
    return estimate_text(*found) if found else "n/a"


def _cells(runs: Sequence[FinishedRun], metrics: Sequence[str], unit: Unit, asked: dict[str, float | None],
           gold: dict[str, float]) -> list[str]:
    """Everything between name and n; none where a run has no reward, judge's reading or KL."""
    changes = {metric: _change(runs, metric, unit) for metric in metrics}
    kl, bound = _mean(runs, lambda run: run.metric("final", "kl")), _mean(runs, scale.bound)
    found = {metric: estimate for metric, estimate in changes.items() if estimate is not None}
    if len(found) < len(metrics) or kl is None or bound is None:
        return []
    above = unit.of_seed is not None and abs(found["reward"][0]) > bound[0]
    cells = []
    for metric in metrics:
        values = [value for run in runs if (value := scale.change(run, metric, unit)) is not None]
        powered = scale.seen(paired.difference(values), asked[metric])
        text = estimate_text(*found[metric]) if powered else NOT_POWERED
        cells.append(text + (f" {ABOVE}" if above and metric == "reward" else ""))
        if metric == "gold" and gold:
            cells.append(" → ".join(_on_scale(runs, when, gold) for when in ("initial", "final")))
    if unit.of_seed:
        cells.append(decimal(bound[0], 3))
    cells += [estimate_text(*kl, signed=False), _on_frontier(runs, "reward", unit, statistics.frontier_at),
              *(_on_frontier(runs, metric, unit, statistics.frontier_area) for metric in reversed(metrics))]
    rises, falls = found["reward"], found[metrics[0]]
    over = rises[0] > (rises[1] or 0.0) and falls[0] < -(falls[1] or 0.0)
    return [*cells, "over-optimised" if over else "–"]


def _on_scale(runs: Sequence[FinishedRun], when: str, gold: dict[str, float]) -> str:
    """(gold − best constant) / (demonstrations − best constant)."""
    found = _mean(runs, lambda run: run.metric(when, "gold"))
    span = gold["demonstrations"] - gold["constant"]
    return "n/a" if found is None or span <= 0 else decimal((found[0] - gold["constant"]) / span, 2)

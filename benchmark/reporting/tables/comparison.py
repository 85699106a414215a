"""Two result folders side by side: what differs between the sets, and which rewards differ by more than chance.

Both folders are read by the report's reader, so each is checked for mixtures by itself. A task and method that both
have is a cell; its reading is the difference B − A of the test reward increase.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
from scipy import stats

from benchmark.core import statistics
from benchmark.core.records import Summary
from benchmark.reporting.read import reader, variants
from benchmark.reporting.read.differences import Mismatch, differences
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun

SAME_START = 1e-9  # rewards of π₀ that are closer than this belong to one π₀


@dataclass(frozen=True)
class PairedCell:
    """One task and method in both sets.

    Attributes:
        seeds: seeds in A, in B. means: mean test reward increase in A, in B [r₀ score]; ``None`` where any run
            diverged or none is there.
        how: "paired", "paired: seeds 1, 2" where not all seeds are in both sets, or "unpaired: why"; empty without a
            difference.
        difference: mean B − A. interval: its 95 % bootstrap interval, ``None`` with a single seed.
        each: (pairs,) differences of a paired cell, whose means and ratios are those of the paired runs.
        ratios: B / A of mean optimisation seconds, forward tokens and peak memory; ``None`` where one is unknown or a
            run diverged (it stopped early).
        lost: whether a run diverged in A, in B.
        verdict: in words; A and B are the letters.
    """

    task: str
    method: str
    seeds: tuple[tuple[int, ...], tuple[int, ...]]
    verdict: str
    means: tuple[float | None, float | None] = (None, None)
    how: str = ""
    difference: float | None = None
    interval: tuple[float, float] | None = None
    each: tuple[float, ...] = ()
    ratios: tuple[float | None, float | None, float | None] = (None, None, None)
    lost: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class SetComparison:
    """Folder names of A and B, what differs between them (loud ones first), and a cell per task and method."""

    names: tuple[str, str]
    differences: tuple[Mismatch, ...]
    cells: tuple[PairedCell, ...]
    results: tuple[Results, Results]

    def holding(self, task: str) -> Results:
        """A set that has ``task``."""
        return next(results for results in self.results if task in results.tasks)

    @property
    def compared(self) -> list[PairedCell]:
        """Cells judged by their interval; one without any width (every seed alike) leaves nothing to chance."""
        return [cell for cell in self.cells if cell.interval is not None and cell.interval[0] < cell.interval[1]]

    def warning(self) -> str:
        """``"not the same measurement: budget, data revision"``; empty when only code and machine differ."""
        loud = list(dict.fromkeys(d.what for d in self.differences if d.loud))
        return f"not the same measurement: {', '.join(loud)}" if loud else ""

    def false_alarms(self) -> tuple[float, float]:
        """Cells expected to "differ" though nothing does: at the nominal 5 %, and with so few seeds."""
        return (1 - statistics.LEVEL) * len(self.compared), sum(_false_alarm(cell) for cell in self.compared)


def _false_alarm(cell: PairedCell) -> float:
    """Probability that the interval misses 0 though A and B are alike, in normal approximation.

    A percentile bootstrap of a mean reaches about 1.96 · s·√((n − 1)/n) / √n, where Student's t would ask for
    t₍n₋₁₎ · s / √n. For two sets of n and m seeds the variances add up.
    """
    n, m = (len(seeds) for seeds in cell.seeds)
    normal = statistics.NORMAL
    if cell.each:
        n = len(cell.each)
        return float(2 * stats.t.sf(normal * np.sqrt((n - 1) / n), n - 1))
    shrunk = ((n - 1) / n**2 + (m - 1) / m**2) / (1 / n + 1 / m)
    return float(2 * stats.t.sf(normal * np.sqrt(shrunk), n + m - 2))


def compare(a: Path, b: Path, *, method_order: Sequence[str] = (),
            task_titles: Mapping[str, str] | None = None) -> SetComparison:
    """Read the result folders ``a`` and ``b`` and compare them.

    Raises:
        BenchmarkError: a folder without finished runs, one that cannot be read, or one that mixes what must not share
            a table.
    """
    read = reader.read_folders([(Path(a), None), (Path(b), None)], method_order=method_order, task_titles=task_titles)
    names = _names(Path(a), Path(b))
    cells = []
    for task in dict.fromkeys([*read[0].tasks, *read[1].tasks]):
        present = {m for results in read for m in results.methods_of(task)}
        cells += [_cell(task, m, read[0].of(task, m), read[1].of(task, m))
                  for m in variants.order(present, method_order)]
    return SetComparison(names, tuple(differences(*read)), tuple(cells), (read[0], read[1]))


def _names(a: Path, b: Path) -> tuple[str, str]:
    """As much of the ends of both paths as tells them apart."""
    first, second = (path.resolve().parts for path in (a, b))
    for length in range(1, min(len(first), len(second))):
        if first[-length:] != second[-length:]:
            return "/".join(first[-length:]), "/".join(second[-length:])
    return "A", "B"


def _rewards(run: FinishedRun) -> list[tuple]:
    """Every reward of a run, both splits, to the last bit."""
    return [(row.split, row.fraction, row.metrics.get("reward")) for row in run.curve]


def _common(a: Sequence[FinishedRun], b: Sequence[FinishedRun]) -> tuple[list[FinishedRun], list[FinishedRun], str]:
    """Runs of the seeds that both sets have, and why they cannot be paired; all runs where they cannot.

    A single pair has no interval: where each set has several runs they are held against each other unpaired.
    """
    seeds = {run.seed for run in a} & {run.seed for run in b}
    one, two = ([run for run in runs if run.seed in seeds] for runs in (a, b))
    if not seeds or (len(seeds) == 1 and min(len(a), len(b)) > 1):
        return list(a), list(b), f"unpaired: {len(seeds) or 'no'} common seed"
    for ours, theirs in zip(one, two, strict=True):
        for split in ("validation", "test"):
            starts = [run.metric("initial", "reward", split) or 0.0 for run in (ours, theirs)]
            if abs(starts[0] - starts[1]) > SAME_START:
                return list(a), list(b), "unpaired: starts differ"
    return one, two, ""


def _bootstrap(a: np.ndarray, b: np.ndarray, paired: bool) -> tuple[float, float]:
    """Interval of mean(b) − mean(a); seeds are drawn in pairs, or in each set by itself."""
    rng = np.random.default_rng(0)
    if paired:
        return statistics.stratified_bootstrap({"": b - a}, rng, np.mean)
    return statistics.difference_bootstrap(b, a, rng)


def _ratio(a: Sequence[FinishedRun], b: Sequence[FinishedRun],
           of: Callable[[Summary], float | None]) -> float | None:
    """Mean of B / mean of A of a cost in the summaries."""
    sides = [[v for r in runs if (v := of(r.summary)) is not None] for runs in (a, b)]
    if [*map(len, sides)] != [len(a), len(b)] or not sum(sides[0]):
        return None
    return float(np.mean(sides[1]) / np.mean(sides[0]))


def _mean(values: Sequence[float | None]) -> float | None:
    return statistics.mean(values) if values and None not in values else None


def _cell(task: str, method: str, a: Sequence[FinishedRun], b: Sequence[FinishedRun]) -> PairedCell:
    seeds = tuple(r.seed for r in a), tuple(r.seed for r in b)
    increases = [[r.increase for r in runs] for runs in (a, b)]
    means = _mean(increases[0]), _mean(increases[1])
    lost = any(r.diverged for r in a), any(r.diverged for r in b)
    if not a or not b:
        verdict = f"only in {'A' if a else 'B'}" + ("; diverged" if any(lost) else "")
        return PairedCell(task, method, seeds, verdict, means, lost=lost)
    if any(lost):
        where = " and ".join(name for name, gone in zip("AB", lost, strict=True) if gone)
        return PairedCell(task, method, seeds, f"diverged in {where}", means, lost=lost)
    if None in means:
        return PairedCell(task, method, seeds, "no test reward", means)
    everyone = len(a), len(b)
    a, b, reason = _common(a, b)
    increases = [[r.increase for r in runs] for runs in (a, b)]
    means = _mean(increases[0]), _mean(increases[1])
    ratios = (_ratio(a, b, attrgetter("spent.seconds")), _ratio(a, b, attrgetter("spent.forward_tokens")),
              _ratio(a, b, lambda summary: summary.peak_memory_mib.get("optimisation")))
    x, y = (np.array(v, dtype=np.float64) for v in increases)
    n = min(len(a), len(b))
    bounds = _bootstrap(x, y, not reason) if n > 1 else None
    difference = float(y.mean() - x.mean())
    if not reason and all(_rewards(one) == _rewards(two) for one, two in zip(a, b, strict=True)):
        verdict = "identical curves"
    elif bounds is None:
        verdict = "no interval (one seed)"
    elif bounds[0] <= 0 <= bounds[1]:
        verdict = "within the interval"
    else:
        verdict = f"differs: B {'higher' if difference > 0 else 'lower'}"
    each = () if reason else tuple(float(v) for v in y - x)
    listed = "" if everyone == (len(a), len(b)) else f": seeds {', '.join(str(run.seed) for run in a)}"
    how = reason or f"paired{listed}"
    return PairedCell(task, method, seeds, verdict, means, how, difference, bounds, each, ratios)

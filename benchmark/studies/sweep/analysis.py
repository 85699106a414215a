"""What a sweep measured: a cell for each task, setting and method, and what each method needs for half of RLOO's gain.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.core import statistics
from benchmark.core.errors import BenchmarkError
from benchmark.core.fields import flat
from benchmark.core.sections import Budget
from benchmark.reporting.read import aggregate, reader, variants
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun
from benchmark.studies.sweep.points import SweepPoint

YARDSTICK = "rloo"  # whose gain is asked for
VARIED = ("adapter", "budget", "method", "execution")  # what the runs of a sweep may differ in
ERRORS = 2.0  # standard errors that an effect must exceed to be told from 0


@dataclass(frozen=True)
class SweepCell:
    """The runs of one method on one task at one point of the sweep."""

    dimension: str
    results: Results
    task: str
    method: str

    @cached_property
    def runs(self) -> list[FinishedRun]:
        return self.results.of(self.task, self.method)

    @property
    def budget(self) -> Budget:
        return self.runs[0].identity.budget

    @property
    def trained(self) -> int | None:
        """d, the number of trained parameters."""
        return self.runs[0].summary.trained_parameters

    @property
    def lost(self) -> int:
        """Runs that diverged."""
        return sum(run.diverged for run in self.runs)

    def changes(self, metric: str) -> list[float]:
        """Test metric at the end minus at π₀, of each run that did not diverge and has it."""
        found = [run.change(metric) for run in self.runs if not run.diverged]
        return [value for value in found if value is not None]

    def estimate(self, metric: str) -> tuple[float, float | None] | None:
        """Mean over seeds of :meth:`changes` and its standard error; None where there is none."""
        values = self.changes(metric)
        own = [run.metric("final", f"{metric}_se") for run in self.runs if not run.diverged]
        return statistics.mean_and_error(values, own) if values else None

    @cached_property
    def curve(self) -> aggregate.Curve:
        """Mean validation reward increase against forward tokens."""
        return aggregate.curves(self.results, self.task, self.method, "forward_tokens")

    @cached_property
    def gain(self) -> tuple[float, float | None]:
        """Validation reward increase at the end of each run: mean over seeds, and its standard error."""
        ends = [run.series("fraction", "reward")[1] for run in self.runs]
        own = [float(run.series("fraction", "reward_se")[1][-1:].sum()) or None for run in self.runs]
        return statistics.mean_and_error([float(rewards[-1] - rewards[0]) for rewards in ends], own)


@dataclass(frozen=True)
class Half:
    """What a method needs for half of RLOO's gain.

    Attributes:
        cell: of the largest budget. target: half of RLOO's gain (r₀ score, validation); None where RLOO has none.
        tokens: forward tokens; None where ``word`` stands instead.
        gain, error: of the method at the largest budget. largest: forward tokens that it spent there.
    """

    cell: SweepCell
    target: float | None
    tokens: float | None
    word: str
    gain: float
    error: float | None
    largest: float


def read(out: Path, points: Sequence[SweepPoint], around: Mapping[str, Collection[str]] | None = None,
         **order: Any) -> tuple[list[tuple[SweepPoint, Results]], list[str]]:
    """The results of every point that has a finished run, and the folders of those that have none.

    Args:
        around: folder of a point → names of runs that must be in it, as for ``reader.read``; none of them in other
            folders. By default what must not share a table is an error.
        order: as for ``reader.read``.

    Raises:
        BenchmarkError: as for ``reader.read``; points that differ in more than budget, what is trained and
            hyperparameters; no finished run.
    """
    full = [point for point in points if any((out / point.folder).glob("*/summary.json"))]
    folders = [(out / point.folder, None if around is None else around.get(point.folder, ())) for point in full]
    found = list(zip(full, reader.read_folders(folders, **order), strict=True))
    empty = [point.folder for point in points if point not in full]
    if not found:
        raise BenchmarkError(f"{out}: no finished run in any folder of the sweep. Repeat the command that began it.")
    refuse_mixtures(found)
    return found, empty


def refuse_mixtures(found: Sequence[tuple[SweepPoint, Results]]) -> None:
    """BenchmarkError if points differ in more than the budget, what is trained and hyperparameters."""
    first, given = found[0][0].folder, dict[str, dict[str, Any]]()
    for point, results in found:
        for task in results.tasks:
            run = results.of(task)[0]
            values = flat({name: value for name, value in run.settings.items() if name not in VARIED})
            values.pop("evaluation.reference_increase", None)  # no level holds at another budget
            values |= {"protocol": run.identity.protocol, "task version": run.identity.task_version,
                       "model": (run.environment.model.revision, run.identity.model_digest),
                       "data": (run.environment.data.source, run.environment.data.revision)}
            base = given.setdefault(task, values)
            if apart := [name for name in {**base, **values} if base.get(name) != values.get(name)]:
                raise BenchmarkError(
                    f"{point.folder} and {first} differ in {', '.join(sorted(apart))} on {task}, and a sweep varies "
                    f"the budget and what is trained alone. Run one of them anew, in another --out.")


def cells(found: Sequence[tuple[SweepPoint, Results]]) -> list[SweepCell]:
    """Every cell: by task, then what is trained, then method, then budget."""
    every = [SweepCell(point.dimension, results, task, method)
             for point, results in found for task in results.tasks for method in results.methods_of(task)]
    ranks = [list(dict.fromkeys(getattr(cell, name) for cell in every)) for name in ("task", "dimension")]
    ranks.append(variants.order({cell.method for cell in every}, every[0].results.method_order))
    return sorted(every, key=lambda cell: (ranks[0].index(cell.task), ranks[1].index(cell.dimension),
                                           ranks[2].index(cell.method), cell.budget.limit))


def grouped(every: Sequence[SweepCell], *names: str) -> dict[tuple, list[SweepCell]]:
    """Cells by the attributes ``names``, in their order."""
    groups: dict[tuple, list[SweepCell]] = {}
    for cell in every:
        groups.setdefault(tuple(getattr(cell, name) for name in names), []).append(cell)
    return groups


def halves(every: Sequence[SweepCell]) -> list[Half]:
    """What each method needs for half of RLOO's gain; none on tasks and settings without RLOO."""
    found = []
    for group in grouped(every, "task", "dimension").values():
        by_method = {method: own for (method,), own in grouped(group, "method").items()}
        if YARDSTICK in by_method:
            found += [_half(by_method[YARDSTICK][-1], own) for own in by_method.values()]
    return found


def _half(yardstick: SweepCell, own: Sequence[SweepCell]) -> Half:
    """
    Args:
        yardstick: RLOO at its largest budget. own: the method's cells, budgets upwards.
    """
    (level, level_error), (gain, error) = yardstick.gain, own[-1].gain
    whole = [cell for cell in own if not cell.lost]
    target = level / 2 if level > 0 and not yardstick.lost else None
    largest, tokens, word = float(own[-1].curve.grid[-1]), None, ""
    if target is None:
        word = "RLOO diverged" if yardstick.lost else "no gain of RLOO"
    elif not whole:
        word = f"diverged ({own[-1].lost} of {len(own[-1].runs)})"
    elif ERRORS * (level_error or 0.0) >= level or ERRORS * (error or 0.0) > target:
        word = "not powered"
    else:
        reached = [statistics.budget_to_target(cell.curve.grid, cell.curve.mean, target) for cell in whole]
        tokens = min((value for value in reached if value is not None), default=None)
        word = "" if tokens is not None else "not reached"
    return Half(own[-1], target, tokens, word, gain, error, largest)

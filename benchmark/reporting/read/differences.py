"""What two result sets were not given alike: protocol, data, budgets, settings, code, packages, machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from benchmark.core.fields import flat
from benchmark.reporting.plots import style
from benchmark.reporting.read.reader import Results
from benchmark.reporting.read.runs import FinishedRun

# Parts of config.json that have lines of their own.
ELSEWHERE = ("profile", "budget", "method", "data.source", "execution.device", "execution.threads", "execution.workers")
# Parts that decide neither what a reward means nor what was paid for it; the last is a level to divide by.
QUIET = ("execution", "evaluation.reference_increase")
MISSING = "–"


@dataclass(frozen=True)
class Mismatch:
    """``what`` differs (``where``: a task, a method, or empty for the whole set), with its value in A and in B.

    ``loud``: the two sets do not measure the same.
    """

    what: str
    where: str
    a: str
    b: str
    loud: bool


def differences(a: Results, b: Results) -> list[Mismatch]:
    """All differences between the sets, loud ones first; tasks and methods only where both have them."""
    found = [*_sets(a, b), *_tasks(a, b), *_methods(a, b), *_environment(a, b)]
    return sorted(found, key=lambda d: not d.loud)


def _values(runs: Sequence[FinishedRun], of: Callable[[FinishedRun], Any]) -> str:
    """Every value that occurs, as text."""
    found = sorted({MISSING if (v := of(run)) is None or v == "" else str(v) for run in runs})
    return ", ".join(found) or MISSING


def _sets(a: Results, b: Results) -> Iterator[Mismatch]:
    def also(names: Sequence[str], others: Sequence[str]) -> str:
        only = ", ".join(name for name in names if name not in others)
        return f"also {only}" if only else MISSING

    for what, one, two, loud in (
        ("tasks", [*map(a.title, a.tasks)], [*map(b.title, b.tasks)], not set(a.tasks) & set(b.tasks)),
        ("methods", [*map(style.label, a.methods)], [*map(style.label, b.methods)], False),
    ):
        if sorted(one) != sorted(two):
            yield Mismatch(what, "", also(one, two), also(two, one), loud)
    first, second = (_values(r.runs, attrgetter("identity.protocol")) for r in (a, b))
    if first != second:
        yield Mismatch("protocol", "", first, second, True)


def _tasks(a: Results, b: Results) -> Iterator[Mismatch]:
    """Budget, data, versions and settings, of the tasks that both have; one line when all tasks agree on it."""
    shared = [t for t in a.tasks if t in b.tasks]
    lines: dict[tuple[str, str, str, bool], list[str]] = {}
    for task in shared:
        one, two = a.of(task), b.of(task)
        pairs: list[tuple[str, str, str, bool]] = [
            ("profile", a.profile(task), b.profile(task), False),
            ("budget", a.budget(task), b.budget(task), True),
        ]
        for what, of in (
            ("data source", lambda run: run.environment.data.source),
            ("data revision", lambda run: run.environment.data.revision),
            ("task version", lambda run: run.identity.task_version),
        ):
            pairs.append((what, _values(one, of), _values(two, of), True))
        pairs += _settings(one, two)
        first, second = (", ".join(str(s) for s in sorted({r.seed for r in runs})) for runs in (one, two))
        pairs.append(("seeds", first, second, False))
        for pair in pairs:
            if pair[1] != pair[2]:
                lines.setdefault(pair, []).append(a.title(task))
    for (what, first, second, loud), where in lines.items():
        named = "" if len(where) == len(shared) else ", ".join(where)
        yield Mismatch(what, named, first, second, loud)


def _settings(one: Sequence[FinishedRun], two: Sequence[FinishedRun]) -> Iterator[tuple[str, str, str, bool]]:
    """Fields of the configuration, the budget's aside; loud only where both versions of the code know the field."""
    sides = [[flat(run.settings) for run in runs] for runs in (one, two)]
    names = sorted({name for side in sides for config in side for name in config})
    for name in names:
        section = name.split(".")[0]
        if section in ELSEWHERE or name in ELSEWHERE:
            continue
        known = [any(name in config for config in side) for side in sides]
        values = [", ".join(sorted({str(c.get(name, MISSING)) for c in side})) for side in sides]
        loud = all(known) and section not in QUIET and name not in QUIET
        yield (name, values[0], values[1], loud)


def _methods(a: Results, b: Results) -> Iterator[Mismatch]:
    """Hyperparameters of the methods that both have, on the tasks that both have."""
    lines: dict[tuple[str, str, str, str], list[str]] = {}
    counts: dict[str, int] = {}
    for task in (t for t in a.tasks if t in b.tasks):
        for method in (m for m in a.methods_of(task) if m in b.methods_of(task)):
            counts[method] = counts.get(method, 0) + 1
            sides = [[run.section("method") for run in r.of(task, method)] for r in (a, b)]
            for name in sorted({name for side in sides for values in side for name in values}):
                one, two = (", ".join(sorted({str(v.get(name, MISSING)) for v in side})) for side in sides)
                if one != two:
                    lines.setdefault((method, name, one, two), []).append(a.title(task))
    for (method, name, one, two), tasks in lines.items():
        where = style.label(method) + ("" if len(tasks) == counts[method] else f", {', '.join(tasks)}")
        yield Mismatch(f"hyperparameter {name}", where, one, two, False)


def _package(name: str, run: FinishedRun) -> str | None:
    return run.environment.packages.get(name)


def _environment(a: Results, b: Results) -> Iterator[Mismatch]:
    readings: dict[str, Callable[[FinishedRun], Any]] = {
        "commit": lambda run: f"{str(run.environment.commit)[:10]}{' (modified)' if run.environment.dirty else ''}",
        **{name: attrgetter(f"environment.{name}")
           for name in ("hardware", "platform", "python", "cuda", "device", "threads", "workers")},
    }
    for name in sorted({name for r in (a, b) for run in r.runs for name in run.environment.packages}):
        readings[f"package {name}"] = partial(_package, name)
    for what, of in readings.items():
        one, two = _values(a.runs, of), _values(b.runs, of)
        if one != two:
            yield Mismatch(what, "", one, two, False)

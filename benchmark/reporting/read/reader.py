"""Run directories as a typed container: what was finished, what was not, and what may be compared."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from baselines.registry import find
from benchmark.core.errors import AGAIN, BenchmarkError
from benchmark.core.fields import flat
from benchmark.core.paths import check_plain, within
from benchmark.core.records import Configuration, CurveRow, Environment, Sample, SharedStart, Summary
from benchmark.reporting.plots import style
from benchmark.reporting.read import schema
from benchmark.reporting.read.runs import NAME, FinishedRun, Ignored
from benchmark.run.store import RunStore

FULL_PROTOCOL_SEEDS = 5
PUBLISHED = "-published"  # ends the name of a method's row at its published settings
REASONS = ("unfinished", "failed", "not selected")
# Sections of a run's settings that may differ between the runs of a table: the method's own, compared with its other
# seeds, and what execution changes at most in the last bits of a reward (seconds: see the caution about machines).
OWN = ("method", "execution")


@dataclass(frozen=True)
class Results:
    """All finished runs of a folder, checked to be comparable task by task."""

    runs: tuple[FinishedRun, ...]
    ignored: tuple[Ignored, ...]
    method_order: tuple[str, ...] = ()
    task_titles: Mapping[str, str] | None = None

    @cached_property
    def tasks(self) -> list[str]:
        """Tasks in the order of ``task_titles``, others last, alphabetically."""
        names, known = {run.task for run in self.runs}, list(self.task_titles or {})
        return [t for t in known if t in names] + sorted(names - set(known))

    @cached_property
    def methods(self) -> list[str]:
        """Methods in registry order, those the registry does not know last, alphabetically."""
        known = list(self.method_order)
        names = {run.method for run in self.runs}
        return [m for m in known if m in names] + sorted(names - set(known))

    @cached_property
    def headline(self) -> list[str]:
        """Methods without rows at published settings, unless every main method has such a row."""
        main = [m for m in self.methods if (row := find(m)) and row.group == "main"]
        if all(f"{method}{PUBLISHED}" in self.methods for method in main):
            return self.methods
        return [method for method in self.methods if not method.endswith(PUBLISHED)]

    def of(self, task: str, method: str | None = None) -> list[FinishedRun]:
        """Runs of ``task`` (and ``method``), by method order, then seed."""
        runs = [r for r in self.runs if r.task == task and method in (None, r.method)]
        return sorted(runs, key=lambda r: (self.methods.index(r.method), r.seed))

    def methods_of(self, task: str) -> list[str]:
        present = {r.method for r in self.of(task)}
        return [m for m in self.methods if m in present]

    def title(self, task: str) -> str:
        return (self.task_titles or {}).get(task) or style.TASK_TITLES.get(style.key(task), task)

    def seeds(self, task: str) -> int:
        """Seeds that every method of ``task`` can show: the smallest count over its methods."""
        return min(len(self.of(task, method)) for method in self.methods_of(task))

    def judge(self, task: str) -> str | None:
        """Name of the metric that judges ``task`` from outside: "gold", else "win_rate", else ``None``."""
        for name in ("gold", "win_rate"):
            if any(r.metric("initial", name) is not None for r in self.of(task)):
                return name
        return None

    @property
    def common_judge(self) -> str | None:
        """The metric that judges every task; ``None`` where they have different ones."""
        judges = {self.judge(task) for task in self.tasks}
        return judges.pop() if len(judges) == 1 else None

    def reduced(self, task: str | None = None) -> str:
        """The words that a table or plot with too few seeds must carry; empty when there are enough."""
        n = min(self.seeds(t) for t in ([task] if task else self.tasks))
        if n >= FULL_PROTOCOL_SEEDS:
            return ""
        return f"reduced protocol ({n} seed{'s' if n != 1 else ''}), not comparable"

    def profile(self, task: str) -> str:
        return self.of(task)[0].identity.profile or "unknown"

    def budget(self, task: str) -> str:
        budget = self.of(task)[0].identity.budget
        return f"{budget.limit:,.10g} {style.BUDGETS.get(budget.kind, budget.kind)}"

    def counts(self, tasks: Sequence[str] | None = None) -> str:
        """``"8 runs used, 2 ignored (1 unfinished, 1 failed)"`` of ``tasks``, by default of the whole folder."""
        used = sum(tasks is None or r.task in tasks for r in self.runs)
        ignored = [i for i in self.ignored if tasks is None or i.cell[0] in tasks]
        text = f"{used} run{'s' if used != 1 else ''} used, {len(ignored)} ignored"
        reasons = [(sum(i.reason == reason for i in ignored), reason) for reason in REASONS]
        parts = [f"{n} {reason}" for n, reason in reasons if n]
        return f"{text} ({', '.join(parts)})" if parts else text

    def missing(self) -> list[str]:
        """``"task / method: seed 1"`` for each cell of the grid seen in this folder that no finished run fills."""
        done = {(r.task, r.method, r.seed) for r in self.runs}
        every = done | {i.cell for i in self.ignored if i.reason != "not selected"}
        tasks, methods, seeds = (sorted(set(column)) for column in zip(*every, strict=True))
        lines = []
        for task, method in itertools.product(tasks, sorted(methods, key=lambda m: m not in self.methods)):
            if gone := [str(seed) for seed in seeds if (task, method, seed) not in done]:
                lines.append(f"{task} / {method}: seed{'s' if len(gone) > 1 else ''} {', '.join(gone)}")
        return lines

    def gaps(self) -> list[str]:
        """A line for each cell without a finished run, each run left out, and each diverged run."""
        lines = [f"{cell}: no finished run" for cell in self.missing()]
        lines += [f"ignored {i.name} ({i.reason}){': ' if i.message else ''}{i.message}" for i in self.ignored]
        return lines + [f"diverged {r.name}: its outcome is the word, not a number" for r in self.runs if r.diverged]

    def cautions(self) -> list[str]:
        """What a reader must know before comparing; each a full sentence."""
        notes = []
        if words := self.reduced():
            notes.append(f"{words[0].upper()}{words[1:]}: the protocol asks for at least {FULL_PROTOCOL_SEEDS} seeds.")
        for task in self.tasks:
            starts: dict[int, list[float]] = {}
            for run in self.of(task):
                if (value := run.metric("initial", "reward")) is not None:
                    starts.setdefault(run.seed, []).append(value)
            if named := ", ".join(str(s) for s, v in sorted(starts.items())
                                  if max(v) - min(v) > 1e-4 * max(1.0, abs(v[0]))):
                notes.append(f"{self.title(task)}: methods do not start at the same reward (seed {named}).")
            sets = {m: {r.seed for r in self.of(task, m)} for m in self.methods_of(task)}
            if len({frozenset(s) for s in sets.values()}) > 1:
                notes.append(f"{self.title(task)}: not every method has the same seeds; see n.")
        if len(self.values("commit")) > 1:
            notes.append("The runs come from more than one commit.")
        if len(self.values("hardware")) > 1:
            notes.append("The runs come from more than one machine: their seconds are not comparable.")
        apart = [name for name in ("device", "threads", "workers") if len(self.values(name)) > 1]
        if apart:
            notes.append(f"The runs differ in {' and '.join(apart)}: their seconds are not comparable.")
        if resumed := sum((r.summary.resumed.count or 0) > 0 for r in self.runs):
            notes.append(f"{resumed} of {len(self.runs)} runs were interrupted and resumed: their seconds leave out "
                         f"what was done twice.")
        if any(r.environment.dirty for r in self.runs):
            notes.append("Some runs were made with uncommitted changes.")
        return notes

    def values(self, name: str) -> list[str]:
        """Every value of a field of ``environment.json`` that occurs; "unknown" for none."""
        found = (getattr(r.environment, name) for r in self.runs)
        return sorted({"unknown" if value is None else str(value) for value in found})

    def packages(self) -> str:
        """``"numpy 2.4.6, python 3.11.7, …"``; every version that occurs."""
        found: dict[str, set[str]] = {}
        for run in self.runs:
            for name, version in {"python": str(run.environment.python), **run.environment.packages}.items():
                found.setdefault(name, set()).add(version)
        return ", ".join(f"{name} {'/'.join(sorted(versions))}" for name, versions in sorted(found.items()))

    def commits(self) -> list[str]:
        """Commits of the runs, shortened to 10 digits, "+changes" where the tree was dirty."""
        names = {(r.environment.commit or "unknown", bool(r.environment.dirty)) for r in self.runs}
        return [commit[:10] + ("+changes" if dirty else "") for commit, dirty in sorted(names)]

    def data(self, task: str) -> str:
        data = self.of(task)[0].environment.data
        return f"{data.source or 'unknown'} (revision {data.revision or 'unknown'})"

    def starts(self, task: str) -> list[SharedStart]:
        """What all methods of a seed started from, seed by seed, where it is known."""
        found = {r.seed: start for r in self.of(task) if (start := r.environment.preparation)}
        return [found[seed] for seed in sorted(found)]


def _read_run(folder: Path) -> FinishedRun:
    config = schema.read_file(Configuration, folder / "config.json")
    run = FinishedRun(
        folder.name, config.run, config.config, schema.read_file(Environment, folder / "environment.json"),
        schema.read(Summary, RunStore(folder).summary(), f"{folder.name}/summary.json"),
        schema.read_lines(CurveRow, folder / "curve.jsonl"), schema.read_lines(Sample, folder / "samples.jsonl"))
    for key in ("task", "method"):  # files are named after them
        check_plain(getattr(run, key), f"{folder.name}/config.json, {key}")
    for kind in ("seconds", "forward_tokens"):
        if (np.diff(run.series(kind, "reward")[0]) < 0).any():
            raise BenchmarkError(f"{folder.name}/curve.jsonl: what was spent ({kind}) decreases from one evaluation "
                                 f"to the next. {AGAIN}")
    if run.series("seconds", "reward")[0].size == 0:
        raise BenchmarkError(f"{folder.name}/curve.jsonl holds no validation reward though the run is marked finished. "
                             f"{AGAIN}")
    return run


def _differing(group: Sequence[FinishedRun], part: Callable[[FinishedRun], Mapping[str, Any]]
               ) -> Callable[[FinishedRun], str]:
    """A function that names the settings of ``part`` (section → field → value) in which a run differs from others."""
    found = {run.name: {name: repr(value) for name, value in flat(part(run)).items()} for run in group}
    every = sorted(set().union(*found.values()))
    names = [name for name in every if len({values.get(name) for values in found.values()}) > 1]
    return lambda run: ", ".join(f"{name} = {found[run.name].get(name, 'missing')}" for name in names)


def _refuse_mixtures(runs: Sequence[FinishedRun]) -> None:
    def data(run: FinishedRun) -> str:
        return f"{run.environment.data.source} @ {run.environment.data.revision}"

    def model(run: FinishedRun) -> str:
        """What tells models of one name apart: hub revision, or digest of the folder; of the judge too."""
        found = run.environment.model.revision, run.identity.model_digest, run.identity.judge_digest
        return " ".join(filter(None, found)) or "unnamed"

    def same(group: Sequence[FinishedRun], what: str, value: Any, where: str) -> None:
        kinds: dict[str, list[str]] = {}
        for run in group:
            kinds.setdefault(str(value(run)), []).append(run.name)
        if len(kinds) > 1:
            listed = "; ".join(
                f"{kind}: {', '.join(names[:4])}" + (f" and {len(names) - 4} more" if len(names) > 4 else "")
                for kind, names in sorted(kinds.items()))
            raise BenchmarkError(f"{where} mix {what}, which must not share a table. {listed}. Move one group to a "
                                 f"folder of its own and report each by itself.")

    same(runs, "protocol versions", lambda r: r.identity.protocol, "the runs")
    for task in sorted({r.task for r in runs}):
        group, where = [r for r in runs if r.task == task], f"the runs of task {task!r}"
        same(group, "profiles", lambda r: r.identity.profile, where)
        same(group, "task versions", lambda r: r.identity.task_version, where)
        same(group, "budgets", lambda r: f"{r.identity.budget.limit:.15g} {r.identity.budget.kind}", where)
        same(group, "data", data, where)
        same(group, "models", model, where)
        shared = _differing(group, lambda r: {k: v for k, v in r.settings.items() if k not in OWN})
        same(group, "settings", shared, where)
        for method in sorted({r.method for r in group}):
            own = [r for r in group if r.method == method]
            values = _differing(own, lambda r: {"method": r.settings.get("method")})
            same(own, "hyperparameters", values, f"the runs of {method} on task {task!r}")
        cells: dict[tuple[str, int], str] = {}
        for run in group:
            other = cells.setdefault((run.method, run.seed), run.name)
            if other != run.name:
                raise BenchmarkError(f"{other} and {run.name} are the same method and seed with different settings; "
                                     f"averaging them would count one seed twice. Move one to another folder.")


def read(out: Path, *, method_order: Sequence[str] = (), task_titles: Mapping[str, str] | None = None,
         only: Sequence[str] | None = None) -> Results:
    """Read every run directory of ``out``; of the finished ones those in ``only``, by default all.

    Raises:
        BenchmarkError: see ``benchmark.reporting.report``.
    """
    if not out.is_dir():
        raise BenchmarkError(f"{out} is not a folder. Give the folder that `run --out` wrote.")
    runs, ignored = [], []
    for folder in sorted(p for p in out.iterdir() if p.is_dir() and NAME.match(p.name)):
        for path in (folder, *folder.iterdir()):
            within(out, path)
        if (folder / "summary.json").is_file() and only is not None and folder.name not in only:
            ignored.append(Ignored(folder.name, "not selected"))
        elif (folder / "summary.json").is_file():
            runs.append(_read_run(folder))
        elif error := schema.read_failure(folder):
            message = f"{error.type or 'error'}: {error.message or ''}"
            ignored.append(Ignored(folder.name, "failed", " ".join(message.split())))
        else:
            ignored.append(Ignored(folder.name, "unfinished"))
    if not runs:
        failed = "".join(f"\n  {i.name}: {i.message}" for i in ignored if i.reason == "failed")
        raise BenchmarkError(
            f"{out} holds no finished run ({len(ignored)} unfinished, failed or not selected): nothing to report. "
            f"Repeat the `run` command with --out {out}: finished runs are kept and the others go on.{failed}"
        )
    _refuse_mixtures(runs)
    return Results(tuple(runs), tuple(ignored), tuple(method_order), task_titles)

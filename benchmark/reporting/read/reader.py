"""Run directories as a typed container: what was finished, what was not, and what may be compared."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from baselines.registry import find
from benchmark.core.errors import AGAIN, BenchmarkError
from benchmark.core.naming import some_of
from benchmark.core.paths import check_plain, within
from benchmark.core.records import Configuration, CurveRow, Environment, Sample, SharedStart, Summary
from benchmark.reporting.plots import style
from benchmark.reporting.read import comparable, schema, variants
from benchmark.reporting.read.runs import NAME, FinishedRun, Ignored
from benchmark.run.store import RunStore

FULL_PROTOCOL_SEEDS = 5
PUBLISHED = "-published"  # ends the name of a method's row at its published settings
REASONS = ("unfinished", "failed", "other settings", "damaged")


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
        """Rows in registry order, those of methods that the registry does not know last, alphabetically."""
        return variants.order({run.method for run in self.runs}, self.method_order)

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
        done = {(r.task, r.identity.method, r.seed) for r in self.runs}
        every = done | {i.cell for i in self.ignored if i.reason != "other settings"}
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
        if words := self.mixed_code():
            notes.append(words)
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
        for reason, words in (("other settings", "must not share a table with the others"), ("damaged", "are damaged")):
            if names := [i.name for i in self.ignored if i.reason == reason]:
                listed = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
                notes.append(f"{len(names)} finished runs of this folder {words} and are left out: {listed}.")
        if any(r.environment.dirty for r in self.runs):
            notes.append("Some runs were made with uncommitted changes.")
        return notes

    def mixed_code(self, task: str | None = None) -> str:
        """The sentence that a table of runs that different code made must carry; empty where one made them all."""
        made: dict[str, list[str]] = {}
        for run in self.runs if task is None else self.of(task):
            start = run.environment.preparation
            code = f"{run.environment.code or 'unknown':.8}" + (f" on {start.code:.8}" if start and start.code else "")
            made.setdefault(code, []).append(run.name)
        if len(made) < 2:
            return ""
        most, *others = sorted(made, key=lambda code: -len(made[code]))
        named = "; ".join(f"{code}: {some_of(made[code])}" for code in others)
        return (f"Mixed code: not all runs were made by the same code, so that they may differ for that reason alone. "
                f"Most by {most}, others by {named}. `run --redo` repeats those of older code.")

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
        check_plain(getattr(run.identity, key), f"{folder.name}/config.json, {key}")
    for kind in ("seconds", "forward_tokens"):
        if (np.diff(run.series(kind, "reward")[0]) < 0).any():
            raise BenchmarkError(f"{folder.name}/curve.jsonl: what was spent ({kind}) decreases from one evaluation "
                                 f"to the next. {AGAIN}")
    if run.series("seconds", "reward")[0].size == 0:
        raise BenchmarkError(f"{folder.name}/curve.jsonl holds no validation reward though the run is marked finished. "
                             f"{AGAIN}")
    return run


def read(out: Path, *, method_order: Sequence[str] = (), task_titles: Mapping[str, str] | None = None,
         around: Collection[str] | None = None) -> Results:
    """Read every run directory of ``out``.

    Args:
        around: names of finished runs; others are left out, and named, if they are damaged or must not share a table
            with these. By default that is an error.

    Raises:
        BenchmarkError: see ``benchmark.reporting.report``.
    """
    return read_folders([(out, around)], method_order=method_order, task_titles=task_titles)[0]


def read_folders(folders: Iterable[tuple[Path, Collection[str] | None]], *, method_order: Sequence[str] = (),
                 task_titles: Mapping[str, str] | None = None) -> list[Results]:
    """As :func:`read`, each (folder, ``around``) by itself, but variants have the same names in all of them."""
    found = [_runs(folder, around) for folder, around in folders]
    named = variants.named([runs for runs, _ in found])
    for runs in named:
        comparable.refuse_mixtures(runs)
    return [Results(tuple(runs), tuple(ignored), tuple(method_order), task_titles)
            for runs, (_, ignored) in zip(named, found, strict=True)]


def _runs(out: Path, around: Collection[str] | None) -> tuple[list[FinishedRun], list[Ignored]]:
    if not out.is_dir():
        raise BenchmarkError(f"{out} is not a folder. Give the folder that `run --out` wrote.")
    runs, ignored = [], []
    for folder in sorted(p for p in out.iterdir() if p.is_dir() and NAME.match(p.name)):
        for path in (folder, *folder.iterdir()):
            within(out, path)
        if (folder / "summary.json").is_file():
            try:
                runs.append(_read_run(folder))
            except BenchmarkError as error:
                if around is None or folder.name in around:
                    raise
                ignored.append(Ignored(folder.name, "damaged", " ".join(str(error).split())))
        elif failure := schema.read_failure(folder):
            message = f"{failure.type or 'error'}: {failure.message or ''}"
            ignored.append(Ignored(folder.name, "failed", " ".join(message.split())))
        else:
            ignored.append(Ignored(folder.name, "unfinished"))
    if around is not None:
        runs, others = comparable.joined(runs, around)
        ignored += [Ignored(run.name, "other settings") for run in others]
    if not runs:
        failed = "".join(f"\n  {i.name}: {i.message}" for i in ignored if i.message)
        raise BenchmarkError(
            f"{out} holds no finished run ({len(ignored)} unfinished or failed): nothing to report. "
            f"Repeat the `run` command with --out {out}: finished runs are kept and the others go on.{failed}"
        )
    return runs, ignored

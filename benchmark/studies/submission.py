"""Whether a result folder can stand beside the committed ones: what docs/submitting.md asks for, point by point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.registry import find
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.fields import flat
from benchmark.core.files import read_object
from benchmark.core.sections import without_later
from benchmark.plan.resolve import Config, load_profile, profiles, with_tuned
from benchmark.plan.run import PROTOCOL
from benchmark.reporting.read.reader import FULL_PROTOCOL_SEEDS, Results, read
from benchmark.reporting.read.runs import FinishedRun
from benchmark.studies.verify import GOOD

REPEATED = 3  # runs that verify must have repeated; all, where there are fewer
FREE = ("profile", "method", "methods", "data", "preferences", "execution")  # of a configuration: whose rows, and how
STARTS = ("model", "sft")  # other rows than the bundled ones do not start from the base model
LEVEL = "evaluation.reference_increase"  # of normalised scores; no result depends on it
SHOWN = 5  # of the things that a point lacks


@dataclass(frozen=True)
class Requirement:
    """Something that is asked for.

    Attributes:
        asks: what, in words.
        missing: what is not so, each with what to do; empty: all is well.
    """

    asks: str
    missing: tuple[str, ...]

    def lines(self) -> list[str]:
        more = [f"… and {len(self.missing) - SHOWN} more"] if len(self.missing) > SHOWN else []
        return [f"{'no ' if self.missing else 'yes'}  {self.asks}",
                *(f"       {line}" for line in [*self.missing[:SHOWN], *more])]


def check(folder: Path) -> list[Requirement]:
    """Every point for the runs of ``folder``.

    Raises:
        BenchmarkError: no finished run, one that cannot be read or was altered, or runs that must not share a table.
    """
    results = read(folder)
    asked = {
        f"the protocol of this version, {PROTOCOL}": _protocol(results),
        "every run that was begun is finished": iter(results.gaps()),
        f"at least {FULL_PROTOCOL_SEEDS} seeds, the same for every method": _seeds(results),
        "a budget that does not depend on the machine": _budgets(results),
        "settings of a committed profile": _settings(results),
        "hyperparameters as published, of the profile, or of a search whose outcome lies in the folder":
            _hyperparameters(results, folder),
        "committed code": _code(results),
        f"{REPEATED} runs that `verify` has repeated": _verified(results, folder),
    }
    return [Requirement(words, tuple(missing)) for words, missing in asked.items()]


def _protocol(results: Results) -> Iterator[str]:
    for found in sorted({str(run.identity.protocol) for run in results.runs} - {PROTOCOL}):
        yield f"the runs are of protocol {found}: run them again"


def _seeds(results: Results) -> Iterator[str]:
    for task in results.tasks:
        seeds = {method: {run.seed for run in results.of(task, method)} for method in results.methods_of(task)}
        every = set().union(*seeds.values())
        for method, mine in seeds.items():
            if gone := sorted(every - mine):
                yield f"{task}, {method}: no seed {', '.join(map(str, gone))}, which others have: --seeds"
            elif len(mine) < FULL_PROTOCOL_SEEDS:
                yield f"{task}, {method}: {len(mine)} seed{'s' if len(mine) > 1 else ''}: --seeds 0-4"


def _budgets(results: Results) -> Iterator[str]:
    for task in results.tasks:
        if results.of(task)[0].identity.budget.kind == "seconds":
            yield f"{task}: a budget of seconds, which no repetition shares: --budget forward_tokens=N"


def _profile(name: str | None) -> Config | None:
    """A profile of the suite; not a file of that name."""
    return load_profile(name) if name in profiles() else None


def _settings(results: Results) -> Iterator[str]:
    for task in results.tasks:
        run = results.of(task)[0]  # all runs of a task have the same, or they would not have been read
        if (config := _profile(run.identity.profile)) is None:
            yield f"{task}: profile {run.identity.profile} is none of ours: use one of {', '.join(profiles())}"
            continue
        free = FREE if run.environment.data.source == "bundled" else (*FREE, *STARTS)
        ours, theirs = (flat({name: values for name, values in without_later(each).items() if name not in free})
                        for each in (config.for_task(task).as_dict(), run.config))
        for name in sorted(ours):
            if name != LEVEL and ours[name] != theirs.get(name):
                yield (f"{task}: {name} = {theirs.get(name)!r}, where profile {config.profile} has {ours[name]!r}: "
                       f"leave out that --set")


def _hyperparameters(results: Results, folder: Path) -> Iterator[str]:
    for task in results.tasks:
        for method in results.methods_of(task):
            run = results.of(task, method)[0]  # as above
            if (row := find(method)) is None:
                yield f"{method} is not known here: pass --plugin, or install what brought it"
            elif (config := _profile(run.identity.profile)) is not None:
                apart = [_apart(run, row.resolved(each.methods)) for each in _searched(config, folder)]
                if all(apart):
                    yield (f"{task}, {method}: {apart[0]}. Leave out --set, or put the outcome of `tune` "
                           f"(FILE.toml and FILE_trials.csv) into the folder")


def _searched(config: Config, folder: Path) -> Iterator[Config]:
    """The profile, then the profile with each outcome of a search that lies in the folder with its trials."""
    yield config
    for path in sorted(folder.glob("*.toml")):
        if path.with_name(f"{path.stem}_trials.csv").is_file():
            try:
                yield with_tuned(config, path, path.name)
            except ConfigError:  # another file, or one of other methods
                continue


def _apart(run: FinishedRun, values: dict[str, Any]) -> str:
    """In which hyperparameters a run differs from ``values``, in words."""
    mine, ours = (without_later({"method": each})["method"] for each in (run.section("method"), values))
    return ", ".join(f"{name} = {mine.get(name)!r}, not {ours.get(name)!r}"
                     for name in sorted(ours.keys() | mine.keys()) if mine.get(name) != ours.get(name))


def _code(results: Results) -> Iterator[str]:
    for run in results.runs:
        found = run.environment
        if found.commit is None:
            yield f"{run.name}: of no commit: run from a clone"
        elif found.dirty:
            yield f"{run.name}: with changes that are not committed: commit them, and run again"
        for name, origin in (run.identity.plugins or {}).items():
            if origin.startswith("a file"):
                yield f"{run.name}: the plugin {name} is a file: make it a package that others can install"


def _verified(results: Results, folder: Path) -> Iterator[str]:
    path = folder / "verify.json"
    if not path.is_file():
        yield f"no verify.json: `verify {folder} --sample {REPEATED} --out {folder}`"
        return
    try:
        verdicts = {row["run"]: row["verdict"] for row in read_object(path)["runs"]}
    except (LookupError, TypeError):
        raise BenchmarkError(f"{path}: not a file that `verify` wrote. Repeat `verify`.") from None
    names = {run.name for run in results.runs}
    for name in sorted(verdicts):
        if name in names and verdicts[name] not in GOOD:
            yield f"{name}: {verdicts[name]}"
    wanted = min(REPEATED, len(names))
    if (found := len(names & verdicts.keys())) < wanted:
        yield f"{found} of these runs in verify.json: `verify {folder} --sample {wanted} --out {folder}`"

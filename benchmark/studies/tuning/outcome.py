"""The outcome of a search: a TOML file that profiles refer to, and every trial in a CSV file beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from baselines.registry import get_method
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.files import write_text
from benchmark.plan.resolve import read_toml
from benchmark.reporting.tables.formats import csv_text
from benchmark.studies.tuning.scores import RULE, Result, choose, reference_levels, score

# Controls that are not searched and cannot take all from the method they are based on: control → (method, values).
# Noise without norm matching is as long as MeZO's, so MeZO's step and perturbation go with it; the rest is ZOPrO's.
TAKES_FROM = {"zopro-no-norm-matching": ("mezo", ("lr", "epsilon"))}
HEAD = """\
# Written by `python -m benchmark tune`; a profile takes it in by its key `tuned`. Every trial: {trials}.
# [reference_increase]: validation reward increase that counts as 1 in normalised scores [r0 score].

"""


@dataclass(frozen=True)
class Outcome:
    """A finished search.

    Attributes:
        settings: profile, trials, seeds, tasks, budget, protocol, conditions: equal for all methods.
        commits: where the runs' code came from.
        searched: method → names of the hyperparameters that were searched.
        results: every trial, method by method, by number.
    """

    settings: dict[str, Any]
    commits: tuple[str, ...]
    searched: dict[str, list[str]]
    results: tuple[Result, ...]

    @cached_property
    def levels(self) -> dict[str, float]:
        return reference_levels(self.results)

    @cached_property
    def chosen(self) -> dict[str, Result]:
        return choose(self.results, self.levels)

    def of(self, method: str) -> list[Result]:
        return [result for result in self.results if result.method == method]

    def values(self, result: Result) -> dict[str, Any]:
        """The searched hyperparameters of a trial."""
        return {name: result.values[name] for name in self.searched[result.method]}

    def tuned(self) -> dict[str, dict[str, Any]]:
        """Method → hyperparameters that a profile takes over, controls included."""
        found = {method: self.values(result) for method, result in self.chosen.items()}
        for control, (method, names) in TAKES_FROM.items():
            if method in self.chosen:
                found[control] = {name: self.chosen[method].values[name] for name in names}
        return found


def trials_file(path: Path) -> Path:
    """``…/tiny.toml`` → ``…/tiny_trials.csv``."""
    return path.with_name(f"{path.stem}_trials.csv")


def check_beside(existing: Outcome | None, settings: dict[str, Any], methods: Sequence[str], path: Path) -> None:
    """Refuse a search whose trials would stand beside others that they cannot be compared with.

    Raises:
        ConfigError: ``path`` holds methods that are not searched now, with another number of trials or under other
            conditions; or it holds tasks that would be lost.
    """
    if existing is None:
        return
    others = [method for method in existing.searched if method not in methods]
    if not others:
        if lost := [task for task in existing.settings["tasks"] if task not in settings["tasks"]]:
            raise ConfigError(f"{path.name} holds a search on {', '.join(lost)} too, which this one would replace. "
                              f"Search all of its tasks, or name another --outcome.")
        return
    for name, value in existing.settings.items():
        if settings[name] != value:
            what = "the configuration or the data" if name == "conditions" else name
            raise ConfigError(f"{path.name} holds trials of {', '.join(others)} that cannot stand beside these: {what} "
                              f"{'differ' if name in ('trials', 'seeds', 'tasks', 'conditions') else 'differs'} "
                              f"({value} there, {settings[name]} here). Every method gets the same: search all of them "
                              f"again together, or name another --outcome.")


def merge(existing: Outcome | None, found: Outcome, order: Sequence[str]) -> Outcome:
    """``found`` and what ``existing`` holds of other methods (it passed :func:`check_beside`), methods in ``order``."""
    if existing is None or not set(existing.searched) - set(found.searched):
        return found
    searched = existing.searched | found.searched
    methods = [method for method in order if method in searched]
    results = [r for method in methods for r in (found if method in found.searched else existing).of(method)]
    return Outcome(found.settings, tuple(sorted({*existing.commits, *found.commits})),
                   {method: searched[method] for method in methods}, tuple(results))


def write(path: Path, outcome: Outcome) -> list[Path]:
    """Write the outcome and its trials; returns both paths. Equal trials give equal bytes."""
    search = {"rule": RULE, **outcome.settings, "commits": list(outcome.commits)}
    tables = {"search": search, "searched": outcome.searched,
              "chosen": {method: result.trial for method, result in outcome.chosen.items()},
              "reference_increase": outcome.levels,
              **{f"methods.{method}": values for method, values in outcome.tuned().items()}}
    text = HEAD.format(trials=trials_file(path).name)
    text += "\n".join(f"[{name}]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in table.items())
                      for name, table in tables.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(trials_file(path), _trials(outcome))
    write_text(path, text)
    return [path, trials_file(path)]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)  # text, numbers, booleans and lists are written alike in TOML


def _trials(outcome: Outcome) -> str:
    tasks = outcome.settings["tasks"]
    names = list(dict.fromkeys(name for result in outcome.results for name in result.values))
    ends = [text for task in tasks for text in (f"{task} status", f"{task} increase [r0 score]")]
    rows: list[list[Any]] = [["method", "trial", "chosen", "score", *ends, *names]]
    for result in outcome.results:
        value = score(result, outcome.levels)
        chosen = "yes" if outcome.chosen.get(result.method) is result else "no"
        row = [result.method, result.trial, chosen, value if isinstance(value, str) else f"{value:.6f}"]
        for task in tasks:
            end = result.reached[task]
            row += [end, ""] if isinstance(end, str) else ["done", repr(end)]
        rows.append([*row, *(result.values.get(name, "") for name in names)])
    return csv_text(rows)


def read(path: Path) -> Outcome | None:
    """The outcome in ``path`` and the trials beside it; None if there is no such file.

    Raises:
        BenchmarkError: a file is damaged, or one of the two is missing.
    """
    if not path.is_file():
        return None
    try:
        tables = read_toml(path, path.name)
        search = dict(tables["search"])
        search.pop("rule")
        commits, searched = tuple(search.pop("commits")), tables["searched"]
        with open(trials_file(path), encoding="utf-8", newline="") as file:
            results = tuple(_result(row, search["tasks"]) for row in csv.DictReader(file))
        counts = {method: sum(r.method == method for r in results) for method in searched}
        if set(counts.values()) != {search["trials"]} or len(results) != sum(counts.values()):
            raise ValueError(f"{search['trials']} trials a method are announced, {counts} are there")
        return Outcome(search, commits, searched, results)
    except (OSError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise BenchmarkError(f"{path.name} and {trials_file(path).name} cannot be read together ({error}). Restore "
                             f"both, or remove both and search again.") from None


def _result(row: dict[str, str], tasks: Sequence[str]) -> Result:
    method = get_method(row["method"])
    values = method.check({name: row[name] for name in method.fields() if name in row}, "trials")
    reached = {task: float(row[f"{task} increase [r0 score]"]) if row[f"{task} status"] == "done" else
               row[f"{task} status"] for task in tasks}
    return Result(method.name, int(row["trial"]), values, reached)

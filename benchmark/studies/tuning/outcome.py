"""The outcome of a search: a TOML file that profiles refer to, and every trial in a CSV file beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.registry import METHODS, get_method
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.files import write_text
from benchmark.plan.resolve import read_toml
from benchmark.reporting.tables.spreadsheet import csv_text
from benchmark.studies.tuning.scores import RULE, Found, Increases, score, standard_error

# Controls that cannot take all from the method they are based on: control → (method, values). Noise without norm
# matching is as long as MeZO's, so MeZO's step and perturbation go with it; the rest is ZOPrO's.
TAKES_FROM = {"zopro-no-norm-matching": ("mezo", ("lr", "epsilon"))}
HEAD = """\
# Written by `python -m benchmark tune`; a profile takes it in by its key `tuned`. Every trial: {trials}.
# Scores: validation reward increase in standard deviations of r0 over pi0's completions.

"""
COLUMNS = ("method", "stage", "trial", "origin", "chosen", "score", "final score", "final standard error")


@dataclass(frozen=True)
class Outcome:
    """A finished search, as its files hold it.

    Attributes:
        settings: profile, plan, tasks, budget, protocol, conditions: equal for all methods.
        commits: where the runs' code came from.
        found: method → stage → what was found there, see :func:`entry`.
        methods: method → hyperparameters that a profile takes over.
        trials: rows of the CSV file: method, stage, number, scores, every hyperparameter.
    """

    settings: dict[str, Any]
    commits: tuple[str, ...]
    found: dict[str, dict[str, dict[str, Any]]]
    methods: dict[str, dict[str, Any]]
    trials: tuple[dict[str, str], ...]

    def of(self, method: str, stage: str) -> list[dict[str, str]]:
        return [row for row in self.trials if (row["method"], row["stage"]) == (method, stage)]


def outcome_of(found: Sequence[Found], settings: dict[str, Any], commits: Sequence[str]) -> Outcome:
    """The outcome of finished searches, in the registry's order, warm starts before what begins with them."""
    order = list(METHODS)
    tables: dict[str, dict[str, dict[str, Any]]] = {}
    methods: dict[str, dict[str, Any]] = {}
    rows = []
    for result in sorted(found, key=lambda result: (order.index(result.subject.method), not result.subject.warm)):
        name, stage = result.subject.method, result.subject.stage
        tables.setdefault(name, {})[stage] = entry(result)
        if result.chosen:
            methods.setdefault(name, {}).update(result.chosen.values)
        rows += trial_rows(result, settings["tasks"])
    return Outcome(settings, tuple(commits), tables, with_controls(methods), tuple(rows))


def entry(result: Found) -> dict[str, Any]:
    """What a stage found: its chosen trial, score and standard error, whether the optimum is bracketed, how many trials
    there were, the ranges searched, and how often which end of a range was moved (low, high)."""
    chosen = result.chosen
    scores = {}
    if chosen:
        finals = result.finals[chosen.number]
        error = standard_error(finals)
        scores = {"chosen": chosen.number, "score": score(finals)} | ({} if error is None else
                                                                      {"standard_error": error})
    dimensions = result.space.dimensions
    return {**scores, "bracketed": result.bracketed, "trials": len(result.trials), "finalists": sorted(result.finals),
            "ranges": {d.name: list(d.values or (d.low, d.high)) for d in dimensions},
            "extended": {d.name: list(d.moved) for d in dimensions if any(d.moved)}}


def with_controls(methods: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """``methods`` and the controls that take from two of them."""
    found = dict(methods)
    for control, (method, names) in TAKES_FROM.items():
        if method in methods:
            found[control] = {name: methods[method][name] for name in names if name in methods[method]}
    return found


def trials_file(path: Path) -> Path:
    """``…/tiny.toml`` → ``…/tiny_trials.csv``."""
    return path.with_name(f"{path.stem}_trials.csv")


def check_beside(existing: Outcome | None, settings: dict[str, Any], methods: Sequence[str], path: Path) -> None:
    """Refuse a search whose trials would stand beside others that they cannot be compared with.

    Args:
        methods: that are searched now.

    Raises:
        ConfigError: ``path`` holds methods that are not searched now, with another number of trials or under other
            conditions; or it holds tasks that would be lost.
    """
    if existing is None:
        return
    others = [method for method in existing.found if method not in methods]
    if not others:
        if lost := [task for task in existing.settings["tasks"] if task not in settings["tasks"]]:
            raise ConfigError(f"{path.name} holds a search on {', '.join(lost)} too, which this one would replace. "
                              f"Search all of its tasks, or name another --outcome.")
        return
    for name, value in existing.settings.items():
        if settings[name] != value:
            what = "the configuration or the data" if name == "conditions" else name.replace("_", " ")
            raise ConfigError(f"{path.name} holds trials of {', '.join(others)} that cannot stand beside these: {what} "
                              f"{'differ' if name.endswith('s') else 'differs'} ({value} there, {settings[name]} "
                              f"here). Every method gets the same: search all of them again together, or name another "
                              f"--outcome.")


def merge(existing: Outcome | None, new: Outcome, order: Sequence[str]) -> Outcome:
    """``new`` and what ``existing`` holds of other methods and stages (it passed :func:`check_beside`), methods in
    ``order``."""
    if existing is None or not set(existing.found) - set(new.found):
        return new
    names = [name for name in order if name in existing.found or name in new.found]
    found = {name: existing.found.get(name, {}) | new.found.get(name, {}) for name in names}
    methods = {name: existing.methods.get(name, {}) | new.methods.get(name, {}) for name in names
               if name in existing.methods or name in new.methods}
    trials = [row for name in names for stage in sorted(found[name], reverse=True)
              for row in (new if stage in new.found.get(name, {}) else existing).of(name, stage)]
    return Outcome(new.settings, tuple(sorted({*existing.commits, *new.commits})), found, with_controls(methods),
                   tuple(trials))


def write(path: Path, outcome: Outcome) -> list[Path]:
    """Write the outcome and its trials; returns both paths. Equal trials give equal bytes."""
    tables = {"search": {"rule": RULE, **outcome.settings, "commits": list(outcome.commits)},
              **{f"found.{method}.{stage}": values for method, stages in outcome.found.items()
                 for stage, values in stages.items()},
              **{f"methods.{method}": values for method, values in outcome.methods.items()}}
    text = HEAD.format(trials=trials_file(path).name)
    text += "\n".join(f"[{name}]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in table.items())
                      for name, table in tables.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(trials_file(path), _csv(outcome))
    write_text(path, text)
    return [path, trials_file(path)]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    return json.dumps(value, ensure_ascii=False)  # text, numbers, booleans and lists are written alike in TOML


def trial_rows(result: Found, tasks: Sequence[str]) -> list[dict[str, str]]:
    """A row for every trial: where it is from, its scores, what it reached on each task, its hyperparameters."""
    rows, row = [], get_method(result.subject.method)
    for trial in result.trials:
        finals = result.finals.get(trial.number)
        error = standard_error(finals) if finals else None
        cells = [result.subject.method, result.subject.stage, trial.number, trial.origin,
                 "yes" if trial is result.chosen else "no", score(result.screened[trial.number]),
                 "" if finals is None else score(finals), "" if error is None else error]
        ends = {f"{task}{name}": _on(increases, task) for name, increases in
                (("", result.screened[trial.number]), (" final", finals)) for task in tasks}
        values = row.resolved({row.name: {**result.begun, **trial.values}})
        named = {**dict(zip(COLUMNS, cells, strict=True)), **ends, **values}
        rows.append({key: str(value) for key, value in named.items() if value != "" or key in COLUMNS})
    return rows


def _on(increases: Increases | None, task: str) -> float | str:
    """Mean over the seeds of one task, or the word; nothing where it was not run."""
    return "" if increases is None or task not in increases else score({task: increases[task]})


def _csv(outcome: Outcome) -> str:
    tasks, rows = outcome.settings["tasks"], outcome.trials
    names = list(dict.fromkeys([*COLUMNS, *(f"{task}{end}" for end in ("", " final") for task in tasks),
                                *(name for row in rows for name in row)]))
    return csv_text([names, *([row.get(name, "") for name in names] for row in rows)])


def read(path: Path) -> Outcome | None:
    """The outcome in ``path`` and the trials beside it; None if there is no such file.

    Raises:
        BenchmarkError: a file is damaged, or one of the two is missing.
        ConfigError: it was found by another rule.
    """
    if not path.is_file():
        return None
    tables = read_toml(path, path.name)
    search = dict(tables.get("search", {}))
    if search.pop("rule", "") != RULE:
        raise ConfigError(f"{path.name} holds a search by another rule, beside which this one's trials cannot stand. "
                          f"Remove it and {trials_file(path).name}, or name another --outcome.")
    try:
        commits = tuple(search.pop("commits"))
        with open(trials_file(path), encoding="utf-8", newline="") as file:
            rows = tuple({key: value for key, value in row.items() if value or key in COLUMNS}
                         for row in csv.DictReader(file))
        outcome = Outcome(search, commits, tables["found"], tables.get("methods", {}), rows)
        counts = {(method, stage): values["trials"] for method, stages in outcome.found.items()
                  for stage, values in stages.items()}
        present = {key: len(outcome.of(*key)) for key in counts}
        if counts != present or len(rows) != sum(counts.values()):
            raise ValueError(f"{sum(counts.values())} trials are announced, {len(rows)} are there")
        return outcome
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchmarkError(f"{path.name} and {trials_file(path).name} cannot be read together ({error}). Restore "
                             f"both, or remove both and search again.") from None

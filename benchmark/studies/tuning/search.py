"""The runs of a search, in order, and what has become of them in their directories."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from baselines.registry import get_method
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.records import Environment
from benchmark.core.sections import WITHOUT_EFFECT, without_later
from benchmark.plan.resolve import Config, with_method, with_user_values
from benchmark.plan.run import PROTOCOL, Run, make_runs, model_digests
from benchmark.plan.sources import TaskSource
from benchmark.reporting.read import schema
from benchmark.run.store import RunStore
from benchmark.studies.tuning.scores import DIVERGED, FAILED, Result
from benchmark.studies.tuning.spaces import check_completions, load_space, trial_values

REFERENCE_SEEDS = range(5)
# Failures of the machine or the user, recorded in error.json like those of a method: such a run is simply not finished.
NOT_THE_METHODS = ("Interrupted", "PreparationFailed", "ProcessDied", "OSError", "StorageError", "MemoryError",
                   "OutOfMemoryError", "BenchmarkError", "ConfigError", "DataError", "ModelError")


@dataclass(frozen=True)
class Cell:
    """One run of a search: the trial of its method that it belongs to."""

    trial: int
    run: Run


@dataclass(frozen=True)
class Search:
    """What is searched, and how.

    Attributes:
        config: the profile; its own hyperparameters and reference levels are left out of every trial.
        sources: the tasks' data, by task.
        methods: methods with a search space.
        seeds: every trial is run with each; the first also seeds the points of the search.
        trials: trials of each method, the published setting included.
    """

    config: Config
    sources: dict[str, TaskSource]
    methods: Sequence[str]
    seeds: Sequence[int]
    trials: int

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ConfigError(f"--trials {self.trials}: at least 1, the published setting.")
        if taken := sorted(set(self.seeds) & set(REFERENCE_SEEDS)):
            raise ConfigError(f"--seed {taken[0]}: seeds 0-4 are those of reference results, which a search must not "
                              f"see. Take others, such as the default 100.")
        check_completions(list(self.methods), self.config.loop.sequences_per_update)

    @cached_property
    def base(self) -> Config:
        """The configuration of every trial, less the trial's hyperparameters."""
        return with_user_values(replace(self.config, methods={}), "evaluation", {"reference_increase": 0.0}, "tune")

    @cached_property
    def values(self) -> dict[str, list[dict[str, Any]]]:
        """Method → the searched hyperparameters of each trial."""
        return {method: trial_values(method, self.trials, self.seeds[0]) for method in self.methods}

    @cached_property
    def cells(self) -> list[Cell]:
        """Every run, trial by trial over all methods, so that all progress together."""
        cells = []
        for trial in range(self.trials):
            config = self.base
            for method in self.methods:
                config = with_method(config, method, self.values[method][trial], f"trial {trial} of {method}")
            runs = make_runs(config, self.sources, list(self.methods), list(self.seeds))
            cells += [Cell(trial, run) for run in runs]
        return cells

    def settings(self) -> dict[str, Any]:
        """What must be equal for trials to be compared, as the outcome stores it."""
        config, tasks = self.base, {}
        for task, source in self.sources.items():
            values = without_later(config.for_task(task).as_dict())
            for name in ("profile", "methods"):
                values.pop(name)
            values["execution"] = {k: v for k, v in values["execution"].items() if k not in WITHOUT_EFFECT}
            tasks[task] = {"config": values, **source.versions(), **model_digests(config.for_task(task))}
        digest = hashlib.sha256(json.dumps(tasks, sort_keys=True).encode()).hexdigest()[:8]
        return {"profile": config.profile, "trials": self.trials, "seeds": list(self.seeds), "tasks": list(tasks),
                "budget": {"kind": config.budget.kind, "limit": config.budget.limit}, "protocol": PROTOCOL,
                "conditions": digest}

    def searched(self) -> dict[str, list[str]]:
        """Method → names of the hyperparameters that are searched."""
        return {method: [dimension.name for dimension in load_space(method)] for method in self.methods}

    def results(self, folder: Path) -> list[Result]:
        """Every trial's outcome from the run directories in ``folder``.

        Raises:
            ConfigError: a run is not finished; names it, why, and what to do.
        """
        reached: dict[tuple[str, int], dict[str, list[float | str]]] = {}
        missing = []
        for cell in self.cells:
            standing = standing_of(folder / cell.run.name)
            if standing is None:
                missing.append(cell.run.name)
                continue
            key = cell.run.method, cell.trial
            reached.setdefault(key, {}).setdefault(cell.run.task, []).append(standing)
        if missing:
            total = len(self.cells)
            shown = "".join(f"\n  {name}: {why_unfinished(folder / name)}" for name in missing[:8])
            more = f"\n  and {len(missing) - 8} more" if len(missing) > 8 else ""
            raise ConfigError(f"{len(missing)} of {total} runs are not finished, so the methods' trials are not equal "
                              f"in number and nothing is chosen. Repeat the same command, it goes on with the "
                              f"rest.{shown}{more}")
        return [Result(method, trial, get_method(method).resolved({method: self.values[method][trial]}),
                       {task: over_seeds(values) for task, values in reached[method, trial].items()})
                for method in self.methods for trial in range(self.trials)]

    def commits(self, folder: Path) -> list[str]:
        """Commits that the runs were made from, "+changes" where tracked files differed."""
        names = set()
        for cell in self.cells:
            path = folder / cell.run.name / "environment.json"
            if path.is_file():
                found = schema.read_file(Environment, path)
                names.add(f"{found.commit or 'unknown'}{'+changes' if found.dirty else ''}")
        return sorted(names)


def standing_of(folder: Path) -> float | str | None:
    """A run's increase of validation reward over π₀ [r₀ score], the word for its end, or None while it has none.

    Of the summary only status and validation metrics are read: the test split has no say.
    """
    store = RunStore(folder)
    if not store.done:
        error = schema.read_failure(folder)
        return FAILED if error and error.type not in NOT_THE_METHODS else None
    summary = store.summary()
    try:
        if summary["status"] != "done":
            return DIVERGED
        return summary["final"]["validation"]["reward"] - summary["initial"]["validation"]["reward"]
    except (KeyError, TypeError) as error:
        raise BenchmarkError(f"{folder.name}/summary.json: no validation reward ({error!r}). Remove that run "
                             f"directory and repeat the command.") from None


def why_unfinished(folder: Path) -> str:
    error = schema.read_failure(folder)
    return f"{error.type}: {error.message}" if error else "not run yet, or killed"


def over_seeds(values: Sequence[float | str]) -> float | str:
    """Mean over a trial's seeds, rounded to what the trials file holds; a word if any seed ended in one."""
    for word in (FAILED, DIVERGED):
        if word in values:
            return word
    return round(sum(map(float, values)) / len(values), 6)

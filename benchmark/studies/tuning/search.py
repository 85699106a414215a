"""The runs of a search, what has become of them in their directories, and which are needed next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from baselines.registry import get_method
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.files import read_object
from benchmark.core.records import Environment
from benchmark.core.sections import with_effect, without_later
from benchmark.plan.resolve import Config, with_method, with_user_values
from benchmark.plan.run import PROTOCOL, Run, make_runs, model_digests
from benchmark.plan.sources import TaskSource
from benchmark.reporting.read import schema
from benchmark.run.store import RunStore
from benchmark.studies.tuning.scores import DIVERGED, FAILED, Found, Increases, Trial, ranked, sampled
from benchmark.studies.tuning.spaces import SPACES, Space, check_completions, load_space
from benchmark.studies.tuning.stages import Subject, subjects, warm_names, warm_owner

REFERENCE_SEEDS = range(5)
# Failures of the machine or the user, recorded in error.json like those of a method: such a run is simply not finished.
NOT_THE_METHODS = ("Interrupted", "PreparationFailed", "ProcessDied", "OSError", "StorageError", "MemoryError",
                   "OutOfMemoryError", "BenchmarkError", "ConfigError", "DataError", "ModelError")


@dataclass(frozen=True)
class Plan:
    """How every subject is searched.

    Attributes:
        trials: settings tried, the published one included, on ``seeds`` at ``share`` of the budget.
            Where ``tasks`` names some, on those alone.
        finalists: how many of the best are run again, on ``final_seeds`` at the whole budget, on every task.
    """

    trials: int = 16
    seeds: tuple[int, ...] = (100,)
    share: float = 1 / 3
    finalists: int = 4
    final_seeds: tuple[int, ...] = (101, 102, 103)
    tasks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.trials < 1 or self.finalists < 1:
            raise ConfigError("tune: --trials and --finalists are at least 1.")
        if not 0 < self.share <= 1:
            raise ConfigError(f"--share {self.share:g}: a share of the budget, above 0 and at most 1.")
        if taken := sorted({*self.seeds, *self.final_seeds} & set(REFERENCE_SEEDS)):
            raise ConfigError(f"--seed {taken[0]}: seeds 0-4 are those of reference results, which a search must not "
                              f"see. Take others, such as the default 100 and 101-103.")

    @property
    def extra(self) -> int:
        """Trials for an extension of one dimension."""
        return max(1, self.trials // 4)


@dataclass(frozen=True)
class TrialRun:
    """One run of a search, and what it is of."""

    subject: Subject
    trial: int
    final: bool
    run: Run

    @property
    def name(self) -> str:
        return f"{self.run.task} {self.subject} {'final of ' if self.final else ''}trial {self.trial} s{self.run.seed}"


@dataclass(frozen=True)
class Search:
    """What is searched, and how.

    Attributes:
        config: the profile; its own hyperparameters and reference levels are left out of every trial.
        sources: the tasks' data, by task.
        methods: whose settings are wanted; see :func:`benchmark.studies.tuning.stages.subjects`.
        folder: of the spaces.
    """

    config: Config
    sources: dict[str, TaskSource]
    methods: Sequence[str]
    plan: Plan
    folder: Path = SPACES

    def __post_init__(self) -> None:
        if strange := [task for task in self.plan.tasks if task not in self.sources]:
            raise ConfigError(f"--trial-task {strange[0]}: not among the tasks that are searched "
                              f"({', '.join(self.sources)}).")
        for subject in self.subjects:
            check_completions(self.spaces[subject], str(subject), self.config.loop.sequences_per_update)

    @property
    def trial_sources(self) -> dict[str, TaskSource]:
        """Those on which every setting is tried."""
        return {task: source for task, source in self.sources.items() if task in (self.plan.tasks or self.sources)}

    @cached_property
    def subjects(self) -> list[Subject]:
        return subjects(list(self.methods), self.config.adapter.kind, self.folder)

    @cached_property
    def spaces(self) -> dict[Subject, Space]:
        """Before any extension. What a warm start decides is not in the space of what comes after it."""
        found = {}
        for subject in self.subjects:
            space = load_space(subject.method, self.config.adapter.kind, subject.warm, self.folder)
            row = get_method(subject.method)
            found[subject] = space.without(warm_names(row)) if row.warm_start and not subject.warm else space
        return found

    @cached_property
    def base(self) -> Config:
        """The configuration of every trial, less the trial's hyperparameters."""
        return with_user_values(replace(self.config, methods={}), "evaluation", {"reference_increase": 0.0}, "tune")

    def stage_config(self, subject: Subject, final: bool) -> Config:
        """The configuration of a subject's runs: a warm start is the method's first iterations and nothing more. It is
        evaluated at the end of each iteration, which is all that a choice looks at."""
        config, loop = self.base, self.base.loop
        limit = config.budget.limit * (1.0 if final else self.plan.share)
        iterations = loop.iterations
        if subject.warm:
            iterations = min(get_method(subject.method).warm_start, loop.iterations)
            limit *= iterations / loop.iterations
        for section, values in (("budget", {"limit": limit}), ("loop", {"iterations": iterations}),
                                ("evaluation", {"points": iterations})):
            config = with_user_values(config, section, values, "tune")
        return config

    def cells(self, subject: Subject, trials: Iterable[Trial], begun: Mapping[str, Any], final: bool) -> list[TrialRun]:
        """Every run of ``trials``, trial by trial."""
        cells, seeds = [], list(self.plan.final_seeds if final else self.plan.seeds)
        sources = self.sources if final else self.trial_sources
        for trial in trials:
            config, place = self.stage_config(subject, final), f"trial {trial.number} of {subject}"
            if begun:
                config = with_method(config, warm_owner(get_method(subject.method)), dict(begun), place)
            config = with_method(config, subject.method, dict(trial.values), place)
            cells += [TrialRun(subject, trial.number, final, run)
                      for run in make_runs(config, sources, [subject.method], seeds)]
        return cells

    def first_trials(self, subject: Subject) -> list[Trial]:
        """The published setting, and points of the space."""
        space, published = self.spaces[subject], get_method(subject.method).resolved({})
        points = space.points(self.plan.trials - 1, str(subject), self.plan.seeds[0])
        return [Trial(0, "published", {name: published[name] for name in space.names}),
                *(Trial(number, "space", values) for number, values in enumerate(points, 1))]

    def advance(self, runs: Path) -> tuple[list[TrialRun], list[Found]]:
        """What is to be run next, and what is found already, from the run directories in ``runs`` alone: so a search
        goes on where it was left, whatever was interrupted. Nothing to run: all is found."""
        wanted: list[list[TrialRun]] = []
        found: dict[Subject, Found] = {}
        for subject in self.subjects:
            begun = self._begun(subject, found)
            if begun is None:  # its warm start is not chosen yet
                continue
            answer = self._of(subject, begun, runs)
            if isinstance(answer, Found):
                found[subject] = answer
            else:
                wanted.append(answer)
        cells = [cell for cells in wanted for cell in cells]
        return sorted(cells, key=lambda cell: cell.trial), list(found.values())

    def _begun(self, subject: Subject, found: Mapping[Subject, Found]) -> dict[str, Any] | None:
        row = get_method(subject.method)
        if subject.warm or not row.warm_start:
            return {}
        start = Subject(warm_owner(row), "warm_start")
        if start not in found:
            return None
        chosen = found[start].chosen
        return dict(chosen.values) if chosen else {}

    def _of(self, subject: Subject, begun: dict[str, Any], runs: Path) -> Found | list[TrialRun]:
        """A subject's result, or the runs that its present step consists of."""
        space, trials, step = self.spaces[subject], self.first_trials(subject), 0
        while True:
            screened = self._ends(subject, trials, begun, False, runs)
            if not isinstance(screened, dict):
                return screened
            order = ranked(screened)
            if not order:
                return Found(subject, space, tuple(trials), screened, {}, begun)
            grown, parts = space.extended(trials[order[0]].values, sampled(trials))
            if not parts:
                break
            space, step = grown, step + 1
            for name, part in parts.items():
                points = part.points(self.plan.extra, str(subject), self.plan.seeds[0], name, step)
                trials += [Trial(number, name, values) for number, values in enumerate(points, len(trials))]
        finals = self._ends(subject, [trials[i] for i in order[: self.plan.finalists]], begun, True, runs)
        if not isinstance(finals, dict):
            return finals
        return Found(subject, space, tuple(trials), screened, finals, begun)

    def _ends(self, subject: Subject, trials: list[Trial], begun: dict[str, Any], final: bool,
              runs: Path) -> dict[int, Increases] | list[TrialRun]:
        """Trial → task → seed → what its run reached; all the runs while one of them is not finished."""
        row, cells = get_method(subject.method), self.cells(subject, trials, begun, final)
        found: dict[int, dict[str, dict[int, float | str]]] = {}
        for cell in cells:
            end = standing_of(runs / cell.run.name, 0 if subject.warm else row.warm_start)
            if end is None:
                return cells
            found.setdefault(cell.trial, {}).setdefault(cell.run.task, {})[cell.run.seed] = end
        return {**found}

    def commits(self, runs: Path) -> list[str]:
        """Commits that the methods' runs were made from, "+changes" where tracked files differed."""
        found = [schema.read_file(Environment, path) for method in {subject.method for subject in self.subjects}
                 for path in runs.glob(f"*__{method}__*/environment.json")]
        return sorted({f"{made.commit or 'unknown'}{'+changes' if made.dirty else ''}" for made in found})

    def settings(self) -> dict[str, Any]:
        """What must be equal for trials to be compared, as the outcome stores it."""
        config, plan, tasks = self.base, self.plan, {}
        for task, source in self.sources.items():
            values = without_later(config.for_task(task).as_dict())
            for name in ("profile", "methods"):
                values.pop(name)
            values["execution"] = with_effect(values["execution"])
            tasks[task] = {"config": values, **source.versions(), **model_digests(config.for_task(task))}
        digest = hashlib.sha256(json.dumps(tasks, sort_keys=True).encode()).hexdigest()[:8]
        return {"profile": config.profile, "trials": plan.trials, "seeds": list(plan.seeds), "share": plan.share,
                "finalists": plan.finalists, "final_seeds": list(plan.final_seeds), "tasks": list(tasks),
                "trial_tasks": list(self.trial_sources),
                "budget": {"kind": config.budget.kind, "limit": config.budget.limit}, "protocol": PROTOCOL,
                "conditions": digest}


def refuse_unfinished(cells: Sequence[TrialRun], runs: Path) -> None:
    """ConfigError if a run of ``cells`` is not finished: methods would not have the same number of trials."""
    missing = [cell.run.name for cell in cells
               if standing_of(runs / cell.run.name, 0) is None]
    if missing:
        shown = "".join(f"\n  {name}: {why_unfinished(runs / name)}" for name in missing[:8])
        more = f"\n  and {len(missing) - 8} more" if len(missing) > 8 else ""
        raise ConfigError(f"{len(missing)} of {len(cells)} runs are not finished, so the methods' trials are not equal "
                          f"in number and nothing is chosen. Repeat the same command, it goes on with the "
                          f"rest.{shown}{more}")


def standing_of(folder: Path, warm_start: int) -> float | str | None:
    """A run's increase of validation reward, in standard deviations of r₀ over π₀'s completions; the word for its end;
    None while it has none.

    Of the summary only status and validation metrics are read: the test split has no say.

    Args:
        warm_start: iterations at whose end the increase begins; 0 = it is that over π₀.
    """
    store = RunStore(folder)
    if not store.done:
        error = schema.read_failure(folder)
        return FAILED if error and error.type not in NOT_THE_METHODS else None
    summary = store.summary()
    try:
        if summary["status"] != "done":
            return DIVERGED
        begin = summary["initial"]["validation"]["reward"]
        if warm_start:  # the last evaluation that was made in it
            begin = [row["metrics"]["reward"] for row in store.rows("curve.jsonl")
                     if row["split"] == "validation" and row["fraction"] > 0 and row["iteration"] < warm_start][-1]
        return round((summary["final"]["validation"]["reward"] - begin) / spread(folder), 6)
    except (KeyError, TypeError, IndexError) as error:
        raise BenchmarkError(f"{folder.name}: no validation reward ({error!r}). Remove that run directory and repeat "
                             f"the command.") from None


def spread(folder: Path) -> float:
    """Standard deviation of r₀ over π₀'s completions of the run's task and seed; 1 where the run does not say."""
    start = read_object(folder / "environment.json").get("preparation") or {}
    return start.get("reward_sd") or 1.0


def why_unfinished(folder: Path) -> str:
    error = schema.read_failure(folder)
    return f"{error.type}: {error.message}" if error else "not run yet, or killed"

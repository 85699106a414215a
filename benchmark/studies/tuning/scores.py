"""From the trials' rewards to one setting a method. Validation only: nothing here has seen the test split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from benchmark.studies.tuning.spaces import Space
from benchmark.studies.tuning.stages import Subject

DIVERGED, FAILED = "diverged", "failed"
RULE = ("trials on the search's seeds at a share of the budget; the best of them again on the final seeds at the whole "
        "budget; chosen is the highest mean over final seeds and tasks of the validation reward increase, in standard "
        "deviations of r0 over pi0's completions: over pi0, for a method with a warm start over the end of that; ties "
        "to the lower trial; a trial that diverged or failed anywhere is out")
Increases = Mapping[str, Mapping[int, float | str]]  # task → seed → increase [standard deviations of r₀], or a word


@dataclass(frozen=True)
class Trial:
    """One setting of a subject.

    Attributes:
        number: 0 is the published setting. origin: "published", "space", or the dimension whose extension it is from.
        values: the hyperparameters that the space searches or fixes.
    """

    number: int
    origin: str
    values: Mapping[str, Any]


def sampled(trials: Sequence[Trial]) -> list[Mapping[str, Any]]:
    """The points of the space: all trials but the published one."""
    return [trial.values for trial in trials if trial.number]


@dataclass(frozen=True)
class Found:
    """A finished search of one subject.

    Attributes:
        space: as it was in the end, extensions included.
        screened: trial number → its increases in the trials. finals: those of the finalists.
        begun: what its warm start decided.
    """

    subject: Subject
    space: Space
    trials: tuple[Trial, ...]
    screened: Mapping[int, Increases]
    finals: Mapping[int, Increases]
    begun: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chosen(self) -> Trial | None:
        """The finalist with the highest score; None if none came to its end."""
        order = ranked(self.finals)
        return self.trials[order[0]] if order else None

    @property
    def bracketed(self) -> bool:
        """Whether tried values lie on both sides of every chosen one."""
        return self.chosen is not None and not self.space.edges(self.chosen.values, sampled(self.trials))


def score(increases: Increases) -> float | str:
    """Mean over tasks and seeds, rounded to what the trials file holds; the word if any run ended in one."""
    ends = [end for seeds in increases.values() for end in seeds.values()]
    for word in (FAILED, DIVERGED):
        if word in ends:
            return word
    return round(mean(map(float, ends)), 6)


def standard_error(increases: Increases) -> float | None:
    """Of :func:`score` of finished runs, from what seeds differ in (means over tasks, n − 1); None with one seed."""
    seeds = [*next(iter(increases.values()))]
    if len(seeds) < 2 or isinstance(score(increases), str):
        return None
    return round(stdev(mean(float(task[seed]) for task in increases.values()) for seed in seeds)
                 / math.sqrt(len(seeds)), 6)


def ranked(trials: Mapping[int, Increases]) -> list[int]:
    """Numbers of the trials that came to their end, best first, ties by number."""
    scores = {number: score(increases) for number, increases in trials.items()}
    alive: Sequence[int] = [number for number, value in scores.items() if not isinstance(value, str)]
    return sorted(alive, key=lambda number: (-float(scores[number]), number))

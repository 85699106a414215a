"""From the trials' rewards to one chosen trial a method. Validation only: nothing here has seen the test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.core.errors import BenchmarkError

DIVERGED, FAILED = "diverged", "failed"
RULE = ("highest mean over tasks of the validation reward increase at the end of the budget, divided by the largest "
        "that any trial of any method reached on that task; mean over seeds; ties to the lower trial; a trial that "
        "diverged or failed on any task is out")


@dataclass(frozen=True)
class Result:
    """One finished trial.

    Attributes:
        trial: its number; 0 is the published setting.
        values: every hyperparameter of the method.
        reached: task → increase of validation reward over π₀ [r₀ score], or "diverged" or "failed".
    """

    method: str
    trial: int
    values: dict[str, Any]
    reached: dict[str, float | str]


def reference_levels(results: Sequence[Result]) -> dict[str, float]:
    """Task → the largest validation reward increase of all trials, the increase that counts as 1.

    Raises:
        BenchmarkError: no trial of any method raised the reward on a task.
    """
    levels = {}
    for task in results[0].reached:
        best = max((value for r in results if not isinstance(value := r.reached[task], str)), default=0.0)
        if best <= 0:
            raise BenchmarkError(f"{task}: no trial of any method raised the validation reward, so there is no level "
                                 f"to measure trials by. Give a larger --budget or more --trials.")
        levels[task] = best
    return levels


def score(result: Result, levels: dict[str, float]) -> float | str:
    """Mean over tasks of increase / reference level, or the word of the task on which the trial came to its end."""
    for word in (FAILED, DIVERGED):
        if word in result.reached.values():
            return word
    return sum(float(result.reached[task]) / level for task, level in levels.items()) / len(levels)


def choose(results: Sequence[Result], levels: dict[str, float]) -> dict[str, Result]:
    """Method → its trial of the highest score (ties: the lower number). A method all of whose trials diverged or
    failed has none and keeps its published setting."""
    chosen: dict[str, tuple[float, Result]] = {}
    for result in sorted(results, key=lambda r: r.trial):
        value = score(result, levels)
        if not isinstance(value, str) and (result.method not in chosen or value > chosen[result.method][0]):
            chosen[result.method] = value, result
    return {method: result for method, (_, result) in chosen.items()}

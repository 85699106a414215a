"""When an iteration of a run ends and when it is evaluated: by what its method has spent of the budget."""

from __future__ import annotations

from dataclasses import dataclass

from baselines.contract import Progress
from benchmark.core.meter import Meter


@dataclass
class BudgetSlices:
    """Answers, after every update, how far the budget of a run and of its current iteration is spent."""

    limit: float
    kind: str
    iterations: int
    meter: Meter

    @property
    def spent(self) -> float:
        return self.meter.spent()[self.kind]

    def progress(self, iteration: int) -> Progress:
        share = self.spent / self.limit
        return Progress(min(1.0, share), min(1.0, max(0.0, share * self.iterations - iteration)))

    def over(self, iteration: int) -> bool:
        """Whether the slice of ``iteration`` is used up; the last slice ends exactly at the limit."""
        end = self.limit if iteration + 1 == self.iterations else self.limit * (iteration + 1) / self.iterations
        return self.spent >= end

    def points(self, count: int) -> int:
        """How many of ``count`` evaluations, at equal fractions of the budget, are due by now."""
        return min(count, int(self.progress(0).run * count + 1e-9))

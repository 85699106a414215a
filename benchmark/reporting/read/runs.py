"""One run directory as a typed value: its identity, its curve, its metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.core.records import CurveRow, Environment, Identity, Sample, Summary
from benchmark.core.sections import with_later, without_later
from benchmark.reporting.read.schema import LARGEST

NAME = re.compile(r"^(?P<task>.+?)__(?P<method>.+)__s(?P<seed>\d+)__(?P<hash>[0-9A-Za-z]+)$")


@dataclass(frozen=True)
class FinishedRun:
    """One finished run, as its directory tells it.

    Attributes:
        name: directory name.
        config: ``config`` of ``config.json``: every setting by section, the hyperparameters under "method".
        samples: sample completions, possibly none.
        variant: what its row is called beside other settings of its method, such as `` (loss = ipo)``; see
            :mod:`benchmark.reporting.read.variants`.
    """

    name: str
    identity: Identity
    config: dict[str, Any]
    environment: Environment
    summary: Summary
    curve: tuple[CurveRow, ...]
    samples: tuple[Sample, ...]
    variant: str = ""

    @property
    def task(self) -> str:
        return self.identity.task

    @property
    def method(self) -> str:
        """Name of its row: the method's, and what tells the variant apart."""
        return f"{self.identity.method}{self.variant}"

    @property
    def seed(self) -> int:
        return self.identity.seed

    @property
    def settings(self) -> dict[str, Any]:
        """``config`` with the fields that the run is older than, so that it can be compared with newer ones."""
        return with_later(without_later(self.config))

    def section(self, name: str) -> dict[str, Any]:
        """Settings of a section, the hyperparameters being that named "method"; empty if there is none."""
        values = with_later(self.config).get(name)
        return values if isinstance(values, dict) else {}

    @property
    def diverged(self) -> bool:
        return self.summary.status != "done"

    def metric(self, when: str, name: str, split: str = "test") -> float | None:
        """Metric ``name`` at ``when`` ("initial" or "final"); ``None`` where it is missing or not finite."""
        return number((getattr(self.summary, when) or {}).get(split, {}).get(name))

    def change(self, name: str) -> float | None:
        """Test metric ``name`` at the end minus at π₀; ``None`` where one of them is missing."""
        start, end = self.metric("initial", name), self.metric("final", name)
        return None if start is None or end is None else end - start

    @property
    def increase(self) -> float | None:
        """Test reward increase (r₀ score); ``None`` for a run that diverged or has none."""
        return None if self.diverged else self.change("reward")

    def answer(self, prompt: str | None) -> Sample | None:
        """Its sample completion for ``prompt``."""
        return next((sample for sample in self.samples if sample.prompt == prompt), None)

    def series(self, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
        """Validation curve as two (evaluations,) arrays; ``x``, ``y`` name a spent amount, a metric or "fraction".

        Evaluations at which either value is missing or not finite are left out.
        """
        values = [{**row.metrics, **vars(row.spent), "fraction": row.fraction} for row in self.curve
                  if row.split == "validation"]
        pairs = [(number(value.get(x)), number(value.get(y))) for value in values]
        array = np.array([pair for pair in pairs if None not in pair], dtype=np.float64).reshape(-1, 2)
        return array[:, 0], array[:, 1]


@dataclass(frozen=True)
class Ignored:
    """A run directory that no table uses; ``reason`` is "unfinished", "failed", "other settings" (it must not share a
    table with the others) or "damaged"."""

    name: str
    reason: str
    message: str = ""

    @property
    def cell(self) -> tuple[str, str, int]:
        """Task, method and seed, as the directory's name has them."""
        found = NAME.match(self.name)
        assert found, self.name  # the reader takes no other names
        return found["task"], found["method"], int(found["seed"])


def number(value: Any) -> float | None:
    """``value`` as a finite float, else ``None``; what is larger than any measurement is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        return None
    return float(value)

"""One run directory as a typed value: its identity, its curve, its metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.core.sections import with_later, without_later

NAME = re.compile(r"^(?P<task>.+?)__(?P<method>.+)__s(?P<seed>\d+)__(?P<hash>[0-9A-Za-z]+)$")
LARGEST = 1e30  # sums and squares of what is read must stay finite


@dataclass(frozen=True)
class Run:
    """One finished run, as its directory tells it.

    Attributes:
        name: directory name.
        identity: ``run`` of ``config.json`` (task, method, seed, hash, profile, protocol, budget).
        config: ``config`` of ``config.json``: every setting by section, the hyperparameters under "method".
        curve: evaluation records in order.
        samples: sample completions, possibly none.
    """

    name: str
    identity: dict[str, Any]
    config: dict[str, Any]
    environment: dict[str, Any]
    summary: dict[str, Any]
    curve: tuple[dict[str, Any], ...]
    samples: tuple[dict[str, Any], ...]

    @property
    def task(self) -> str:
        return str(self.identity["task"])

    @property
    def method(self) -> str:
        return str(self.identity["method"])

    @property
    def seed(self) -> int:
        return int(self.identity["seed"])

    @property
    def settings(self) -> dict[str, Any]:
        """``config`` with the fields that the run is older than, so that it can be compared with newer ones."""
        return with_later(without_later(self.config))

    @property
    def diverged(self) -> bool:
        return self.summary.get("status") != "done"

    @property
    def budget(self) -> tuple[str, float]:
        return str(self.identity["budget"]["kind"]), float(self.identity["budget"]["limit"])

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(str(w) for w in self.summary.get("warnings") or ())

    @property
    def hardware(self) -> str:
        """One line: CPU, cores, memory, and GPU where there is one."""
        hardware = self.environment.get("hardware") or {}
        parts = [str(hardware.get("cpu") or "unknown processor")]
        if hardware.get("cores"):
            parts.append(f"{hardware['cores']} cores")
        if (memory := number(hardware.get("memory_gib"))) is not None:
            parts.append(f"{memory:.0f} GiB")
        if hardware.get("gpu"):
            parts.append(str(hardware["gpu"]))
        return ", ".join(parts)

    def metric(self, when: str, name: str, split: str = "test") -> float | None:
        """Metric ``name`` at ``when`` ("initial" or "final"); ``None`` where it is missing or not finite."""
        return number(((self.summary.get(when) or {}).get(split) or {}).get(name))

    def series(self, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
        """Validation curve as two (evaluations,) arrays; ``x``, ``y`` name a spent amount, a metric or "fraction".

        Evaluations at which either value is missing or not finite are left out.
        """
        points = []
        for record in self.curve:
            if record.get("split") == "validation":
                pair = _field(record, x), _field(record, y)
                if None not in pair:
                    points.append(pair)
        array = np.array(points, dtype=np.float64).reshape(-1, 2)
        return array[:, 0], array[:, 1]


@dataclass(frozen=True)
class Ignored:
    """A run directory that no table uses; ``reason`` is "unfinished", "failed" or "not selected"."""

    name: str
    reason: str
    message: str = ""


def number(value: Any) -> float | None:
    """``value`` as a finite float, else ``None``; what is larger than any measurement is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        return None
    return float(value)


def _field(record: dict[str, Any], name: str) -> float | None:
    if name == "fraction":
        return number(record.get(name))
    for group in ("spent", "metrics"):
        if name in (record.get(group) or {}):
            return number(record[group][name])
    return None

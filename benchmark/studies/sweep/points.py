"""The points of a sweep: budgets × what is trained. Each is an ordinary result folder within the sweep's."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.core.errors import ConfigError
from benchmark.core.files import read_object, write_json
from benchmark.core.naming import check_name
from benchmark.core.paths import check_plain, within
from benchmark.core.sections import Budget
from benchmark.plan.resolve import Config, with_user_values
from benchmark.reporting.read import schema
from benchmark.reporting.read.runs import NAME

FILE = "sweep.json"
# What is trained, from few parameters to all. α/r is 2 for both ranks of LoRA, as by default.
DIMENSIONS: dict[str, dict[str, Any]] = {
    "final-norm": {"kind": "norms", "only": r"^model\.norm\."},
    "norms": {"kind": "norms", "only": ""},
    "lora-1-qv": {"kind": "lora", "only": "", "rank": 1, "alpha": 2, "target_modules": "q_proj,v_proj"},
    "lora-8": {"kind": "lora", "only": "", "rank": 8, "alpha": 16, "target_modules": "all-linear"},
    "full": {"kind": "full", "only": ""},
}


@dataclass(frozen=True)
class SweepPoint:
    """One setting of a sweep.

    Attributes:
        folder: its result folder in the sweep's. dimension: a key of ``DIMENSIONS``; empty = as in the profile.
    """

    folder: str
    dimension: str = ""


def amount(limit: float) -> str:
    """A budget in few characters: ``0.25M``, ``50k``, ``60``."""
    scale, suffix = (1e6, "M") if limit >= 1e5 else (1e3, "k") if limit >= 1e3 else (1.0, "")
    return f"{limit / scale:.12g}{suffix}"


def settings(config: Config, budgets: str | None, dimensions: str | None) -> list[tuple[SweepPoint, Config]]:
    """Every point that is asked for with its configuration, what is trained first, then budgets upwards.

    Args:
        budgets: ``0.25M,1M`` in the unit of the configured budget, or ``KIND=0.25M,1M``; None = that of ``config``.
        dimensions: keys of ``DIMENSIONS``, separated by commas; None = as in ``config``.

    Raises:
        ConfigError: an unknown kind, dimension or number.
    """
    given = [check_name(name.strip(), DIMENSIONS, "dimension") for name in (dimensions or "").split(",") if name]
    kind, equals, numbers = (budgets or "").rpartition("=")
    found = {Budget.parse(f"{kind if equals else config.budget.kind}={number.strip()}", "--budgets")
             for number in numbers.split(",") if budgets}
    limits = sorted(found, key=lambda budget: budget.limit)
    points: list[Budget | None] = [*limits] or [None]
    pairs = itertools.product([name for name in DIMENSIONS if name in given] or [""], points)
    return [_point(config, dimension, budget) for dimension, budget in pairs]


def _point(config: Config, dimension: str, budget: Budget | None) -> tuple[SweepPoint, Config]:
    if dimension:
        config = with_user_values(config, "adapter", DIMENSIONS[dimension], "--dimensions")
    if budget is not None:
        config = with_user_values(config, "budget", vars(budget), "--budgets")
    name = "-".join(filter(None, (dimension, amount(budget.limit) if budget else "")))
    return SweepPoint(name, dimension), config


def is_sweep(out: Path) -> bool:
    return (out / FILE).is_file()


def read(out: Path) -> list[SweepPoint]:
    """The points of the sweep in ``out``; BenchmarkError if its file is damaged or names a place elsewhere."""
    points = schema.read(Points, read_object(out / FILE), FILE).points
    for point in points:
        within(out, out / check_plain(point.folder, f"{FILE}, folder"))
    return list(points)


@dataclass(frozen=True)
class Points:
    """``sweep.json``."""

    points: tuple[SweepPoint, ...]


def add(out: Path, points: list[SweepPoint]) -> None:
    """Note ``points`` in ``out``, beside those it has; ConfigError if it holds runs that belong to no point."""
    if not is_sweep(out) and any(NAME.match(path.name) for path in out.iterdir()):
        raise ConfigError(f"--out {out} holds runs that belong to no sweep. Pass another folder.")
    every = dict.fromkeys([*(read(out) if is_sweep(out) else []), *points])
    write_json(out / FILE, {"points": [asdict(point) for point in every]})

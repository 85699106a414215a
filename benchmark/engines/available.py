"""Which engines there are."""

from __future__ import annotations

from pathlib import Path

from benchmark.core.sections import EngineSettings
from benchmark.core.storage import ENGINE
from benchmark.engines.queue import Engine
from benchmark.engines.ray_tasks import RayTasks
from benchmark.engines.slurm import Slurm


def engine_of(settings: EngineSettings, out: Path) -> Engine:
    """The engine that ``settings`` name, for the result folder ``out``.

    Raises:
        ConfigError: what it needs is not installed, or not there.
    """
    return Slurm(settings.cluster, out / ENGINE / "submitit") if settings.kind == "slurm" else RayTasks()

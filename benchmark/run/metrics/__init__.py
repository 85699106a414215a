"""Task metrics as local ``evaluate`` modules: the ones on the hub need the network, these need nothing.

Each folder also loads by itself: ``evaluate.load("benchmark/run/metrics/chrf")``.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from typing import Any

from benchmark.core.errors import ConfigError
from benchmark.core.naming import check_name, load

METRICS = {
    "rougeL": "benchmark.run.metrics.rougeL.rougeL:RougeL",
    "chrf": "benchmark.run.metrics.chrf.chrf:Chrf",
    "bleu": "benchmark.run.metrics.bleu.bleu:Bleu",
}


@functools.cache
def _cache_folder() -> str:
    """A folder of this process alone: ``evaluate`` locks files by name, and parallel runs share their names."""
    folder = tempfile.mkdtemp(prefix="metrics-")
    owner = os.getpid()
    # A forked child inherits the handler; only the process that made the folder may remove it.
    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


@functools.cache
def _metric(name: str) -> Any:
    # Instantiated from the package rather than by `evaluate.load`, which copies the file into a shared cache of
    # dynamic modules under the home folder first.
    return load(METRICS[name])(cache_dir=_cache_folder(), keep_in_memory=True, experiment_id=f"p{os.getpid()}")


def compute(name: str, predictions: list[str], references: list[str], weights: list[float] | None = None) -> float:
    """Score of ``predictions`` against one reference each.

    Args:
        name: ``rougeL`` (mean F-measure, 0 to 1), ``chrf`` or ``bleu`` (corpus level, 0 to 100).
        predictions: (n,) texts, n ≥ 1; empty strings are allowed and score 0.
        references: (n,) texts.
        weights: (n,) of how many times each counts; what is counted in a corpus is counted so. None = each once.

    Raises:
        ConfigError: unknown name, no predictions, or lists of unequal length.
    """
    check_name(name, METRICS, "metric")
    if not predictions or len(predictions) != len(references):
        raise ConfigError(
            f"metric {name!r} needs as many predictions as references and at least one; "
            f"got {len(predictions)} and {len(references)}."
        )
    found = _metric(name).compute(predictions=list(predictions), references=list(references), weights=weights)
    return float(found[name])

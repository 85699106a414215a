"""Runs the children in turn and collects what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark.core import provenance
from benchmark.core.errors import ConfigError
from benchmark.core.files import write_json
from benchmark.lm.loading import device_of
from benchmark.plan.plugins import LOADED
from benchmark.plan.resolve import Config
from benchmark.studies.speed.analysis import analysed
from benchmark.studies.speed.charts import write_all
from benchmark.studies.speed.plan import AXES, Figure, make_figures, point_name, sweep_points
from benchmark.studies.speed.tables import to_markdown

ROOT = Path(__file__).resolve().parents[3]
# Freed blocks go back to the system at once, so that the resident set is what is in use. It slows a process down, which
# is why memory is measured apart from time.
EXACT_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
Child = Callable[[Figure, bool], dict[str, Any]]


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_child(figure: Figure, memory: bool) -> dict[str, Any]:
    """The answer of a new process about ``figure``: ``{"result": …}`` or ``{"failed": reason}``."""
    threads = str(figure.config.execution.threads)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads,
        "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        **(EXACT_MALLOC if memory else {}),
    }
    done = subprocess.run([sys.executable, "-m", "benchmark.studies.speed.child"], env=environment, text=True,
                          capture_output=True, input=json.dumps({
                              "figure": figure.as_dict(), "memory": memory,
                              "plugins": [plugin.file for plugin in LOADED.values()]}))
    try:
        return json.loads(done.stdout)
    except ValueError:
        code = done.returncode
        why = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        hint = " Probably out of memory." if code == -9 else ""
        return {"failed": f"its process ended without an answer: {why}.{hint}"}


def measure_all(figures: Sequence[Figure], repeats: int, report: Callable[[str], None], child: Child = run_child
                ) -> dict[str, dict[str, Any]]:
    """Every figure ``repeats`` times, one round after the other, so that what disturbs the machine for a while does not
    fall on one figure alone; then memory, once each. A figure that fails is not tried again."""
    found: dict[str, dict[str, Any]] = {
        figure.key: {"part": figure.part, "name": figure.name, "variant": figure.variant, "point": figure.point,
                     "sequences": figure.sequences, "repeats": [], "memory": None, "failed": None}
        for figure in figures}
    rounds = [(figure, False, f"round {i + 1} of {repeats}") for i in range(repeats) for figure in figures]
    rounds += [(figure, True, "memory") for figure in figures if figure.part in ("methods", "floors")]
    for count, (figure, memory, stage) in enumerate(rounds, 1):
        entry = found[figure.key]
        if entry["failed"]:
            continue
        answer = child(figure, memory)
        if "failed" in answer:
            entry["failed"] = answer["failed"]
            words = f"failed: {answer['failed']}"
        elif memory:
            entry["memory"] = answer["result"]
            words = f"{answer['result']['tensors']['update']:.1f} MiB"
        else:
            entry["repeats"].append(answer["result"])
            words = f"{answer['result']['seconds']:.3g} s"
        report(f"[{count}/{len(rounds)}] {stage}: {figure.key}: {words}")
    return found


def bench(size: str, parts: Sequence[str], methods: Sequence[str] | None, repeats: int, config: Config,
          report: Callable[[str], None], child: Child = run_child) -> dict[str, Any]:
    """The content of ``bench.json``, less what follows from the figures.

    Raises:
        ConfigError: nothing can be measured that way.
    """
    if repeats < 1:
        raise ConfigError(f"bench: --repeats takes 1 or more, not {repeats}.")
    config = replace(config, execution=replace(config.execution, device=str(device_of(config.execution))))
    figures, notes = make_figures(config, size, parts, methods)
    if not figures:
        raise ConfigError(f"bench: nothing to measure. {' '.join(notes)}".strip())
    execution = config.execution
    environment = provenance.machine(execution.device, execution.threads, 1).as_row()
    if any(figure.part == "peers" for figure in figures):
        environment["packages"]["trl"] = metadata.version("trl")
    for note in notes:
        report(f"note: {note}")
    axes = {}
    if "sweeps" in parts:
        axes = {axis: [[value, point_name(axis, value, changed == config)]
                       for value, changed in sweep_points(config, size, axis)] for axis in AXES}
    return {
        "format": 1, "size": size, "parts": list(parts), "repeats": repeats, "warmup": figures[0].warmup,
        "timed": figures[0].timed, "environment": environment, "config": config.as_dict(), "axes": axes,
        "figures": measure_all(figures, repeats, report, child), "notes": notes,
    }


def show(size: str, parts: Sequence[str], methods: Sequence[str], repeats: int, config: Config) -> int:
    """Measure and print JSON; progress goes to standard error. Returns the exit code."""
    found = analysed(bench(size, parts, methods, repeats, config, lambda line: print(line, file=sys.stderr)))
    print(json.dumps(found, ensure_ascii=False, indent=1))
    return failures(found)


def write(size: str, parts: Sequence[str], methods: Sequence[str], repeats: int, config: Config, out: Path) -> int:
    """Measure, write ``bench.json``, tables and charts into ``out``, and name them. Returns the exit code."""
    found = bench(size, parts, methods, repeats, config, print)
    for path in render(found, out):
        print(f"  {path}")
    return failures(found)


def render(found: dict[str, Any], out: Path) -> list[Path]:
    """Files of a measurement, in ``out``."""
    found = analysed(found)
    write_json(out / "bench.json", found)
    page = to_markdown(found)
    (out / "bench.md").write_text(page, encoding="utf-8")
    print(page)
    return [out / "bench.json", out / "bench.md", *write_all(found, out)]


def failures(found: dict[str, Any]) -> int:
    """Name what failed; 1 if something did, else 0."""
    failed = {key: entry["failed"] for key, entry in found["figures"].items() if entry["failed"]}
    for key, reason in failed.items():
        print(f"FAILED {key}: {reason}", file=sys.stderr)
    return 1 if failed else 0

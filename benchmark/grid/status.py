"""What has become of the runs of a result folder, as their files and locks tell it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.registry import METHODS
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.locks import holder
from benchmark.core.paths import within
from benchmark.reporting.read.runs import NAME, number
from benchmark.run.store import FILES, RunStore

TAIL = 65536  # bytes from the end of a log that hold its last line
STATES = ("done", "diverged", "running", "interrupted", "failed", "damaged")
FINISHED, UNFINISHED = ("done", "diverged"), ("failed", "interrupted")


@dataclass(frozen=True)
class Standing:
    """One run directory.

    Attributes:
        name: of the directory; task, method and seed are taken from it.
        state: one of ``STATES``; "damaged" is one with a file that cannot be read or was altered.
        spent: share of the budget that was spent when it last wrote, in [0, 1]; None where it is not known.
        why: what it failed of, or what is damaged.
        warnings: of a finished run.
    """

    name: str
    task: str
    method: str
    seed: int
    state: str
    spent: float | None = None
    why: str = ""
    warnings: tuple[str, ...] = ()


def run_folders(out: Path) -> list[Path]:
    """The run directories of ``out``, links left out; ConfigError if there is no such folder."""
    if not out.is_dir():
        raise ConfigError(f"{out}: no such folder. Pass the --out folder of a run command.")
    return sorted(p for p in out.iterdir() if NAME.match(p.name) and p.is_dir() and not p.is_symlink())


def standings(out: Path) -> list[Standing]:
    """Every run of ``out`` by task, method (in the registry's order), seed and name.

    Raises:
        ConfigError: no such folder, or no run in it.
    """
    found = [standing(folder) for folder in run_folders(out)]
    if not found:
        raise ConfigError(f"{out}: no run directory there. Pass the --out folder of a run command (of `tune`: its "
                          f"runs folder).")
    order = {name: place for place, name in enumerate(METHODS)}
    return sorted(found, key=lambda s: (s.task, order.get(s.method, len(order)), s.method, s.seed, s.name))


def standing(folder: Path) -> Standing:
    """What has become of the run in ``folder``."""
    parts = NAME.match(folder.name)
    assert parts is not None  # as run_folders has it
    identity = (folder.name, parts["task"], parts["method"], int(parts["seed"]))
    try:
        held = holder(folder)  # asked first: a run that ends meanwhile has its summary by then
        if (folder / "summary.json").is_file():
            summary = _object(folder / "summary.json")
            warnings = summary.get("warnings") or []
            if summary.get("status") not in FINISHED or not isinstance(warnings, list):
                raise ValueError("summary.json: not a run's summary")
            for name in FILES:
                within(folder, folder / name)
            RunStore(folder).check(summary)
            return Standing(*identity, summary["status"], _spent(folder), "", tuple(map(str, warnings)))
        if held:
            return Standing(*identity, "running", _spent(folder))
        error = _object(folder / "error.json") if (folder / "error.json").is_file() else {"type": "Interrupted"}
        if error.get("type") == "Interrupted":
            return Standing(*identity, "interrupted", _spent(folder))
        return Standing(*identity, "failed", _spent(folder), f"{error.get('type')}: {error.get('message', '')}")
    except (BenchmarkError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Standing(*identity, "damaged", None, str(error))


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; ValueError that names the file if it is none, OSError if it cannot be read."""
    if path.is_symlink():
        raise ValueError(f"{path.name} is a link")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path.name}: not a JSON object")
    return value


def _spent(folder: Path) -> float | None:
    """Share of the budget that the last whole line of a log speaks of."""
    try:
        budget = _object(folder / "config.json")["run"]["budget"]
        kind, limit = str(budget["kind"]), float(budget["limit"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None  # the state says what is known; a share cannot be
    shares = [spent / limit for name in ("curve.jsonl", "updates.jsonl")
              if (spent := number(_last_line(folder / name).get("spent", {}).get(kind))) is not None and limit > 0]
    return min(1.0, max(shares)) if shares else None


def _last_line(path: Path) -> dict[str, Any]:
    """The last line of ``path`` that is a JSON object with an object "spent"; empty if there is none."""
    if path.is_symlink() or not path.is_file():
        return {}
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read().decode("utf-8", errors="replace").split("\n")
    for line in reversed(lines):
        with contextlib.suppress(ValueError, RecursionError):  # the first of the tail, and one being written, are cut
            value = json.loads(line)
            if isinstance(value, dict) and isinstance(value.get("spent"), dict):
                return value
    return {}

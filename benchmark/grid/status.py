"""What has become of the runs of a result folder, as their files and locks tell it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from baselines.registry import ORDER
from benchmark.core.errors import AGAIN, BenchmarkError, ConfigError
from benchmark.core.files import json_object
from benchmark.core.locks import holder
from benchmark.core.paths import within
from benchmark.core.records import Configuration, Spent, Summary
from benchmark.reporting.read import schema
from benchmark.reporting.read.runs import NAME
from benchmark.run.store import FILES, RunStore

TAIL = 65536  # bytes from the end of a log that hold its last line
STATES = ("done", "diverged", "running", "queued", "interrupted", "lost", "failed", "damaged")
FINISHED, UNFINISHED = ("done", "diverged"), ("failed", "interrupted")


@dataclass(frozen=True)
class Standing:
    """One run directory.

    Attributes:
        name: of the directory; task, method and seed are taken from it.
        state: one of ``STATES``; "damaged" is one with a file that cannot be read or was altered, "queued" is with an
            engine, "lost" was with one that knows nothing of it any more.
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


def run_folders(out: Path, links: bool = False) -> list[Path]:
    """The run directories of ``out``, with ``links`` those that lie elsewhere and are linked; ConfigError if there is
    no such folder."""
    if not out.is_dir():
        raise ConfigError(f"{out}: no such folder. Pass the --out folder of a run command.")
    return sorted(p for p in out.iterdir() if NAME.match(p.name) and p.is_dir() and (links or not p.is_symlink()))


def standings(out: Path, sent: Mapping[str, str] = MappingProxyType({})) -> list[Standing]:
    """Every run of ``out`` by task, method (in the registry's order), seed and name.

    Args:
        sent: name → "queued" or "lost" of runs that were sent to an engine; what their folders tell stands above it.

    Raises:
        ConfigError: no such folder, or no run in it.
    """
    begun = [standing(folder) for folder in run_folders(out, links=True)]
    found = [replace(run, state=sent[run.name]) if run.state == "interrupted" and run.name in sent else run
             for run in begun]
    for name in sent.keys() - {run.name for run in begun}:
        if parts := NAME.match(name):
            found.append(Standing(name, parts["task"], parts["method"], int(parts["seed"]), sent[name]))
    if not found:
        raise ConfigError(f"{out}: no run directory there. Pass the --out folder of a run command (of `tune`: its "
                          f"runs folder).")
    order = {name: place for place, name in enumerate(ORDER)}
    return sorted(found, key=lambda s: (s.task, order.get(s.method, len(order)), s.method, s.seed, s.name))


def standing(folder: Path) -> Standing:
    """What has become of the run in ``folder``."""
    parts = NAME.match(folder.name)
    assert parts is not None  # as run_folders has it
    identity = (folder.name, parts["task"], parts["method"], int(parts["seed"]))
    try:
        held = holder(folder.resolve())  # asked first: a run that ends meanwhile has its summary by then
        for name in (*FILES, "summary.json", "error.json"):
            within(folder, folder / name)
        if (folder / "summary.json").is_file():
            summary = schema.read(Summary, RunStore(folder).summary(), f"{folder.name}/summary.json")
            if summary.status not in FINISHED:
                raise BenchmarkError(f"{folder.name}/summary.json: not a run's summary. {AGAIN}")
            return Standing(*identity, summary.status, _spent(folder), "", summary.warnings)
        if held:
            return Standing(*identity, "running", _spent(folder))
        error = schema.read_failure(folder)
        if error is None or error.type == "Interrupted":
            return Standing(*identity, "interrupted", _spent(folder))
        return Standing(*identity, "failed", _spent(folder), f"{error.type}: {error.message or ''}")
    except (BenchmarkError, OSError) as error:
        return Standing(*identity, "damaged", None, str(error))


def _spent(folder: Path) -> float | None:
    """Share of the budget that the last whole line of a log speaks of."""
    try:
        budget = schema.read_file(Configuration, folder / "config.json").run.budget
    except BenchmarkError:
        return None  # the state says what is known; a share cannot be
    shares = [spent / budget.limit for name in ("curve.jsonl", "updates.jsonl")
              if (spent := _last_spent(folder / name).get(budget.kind)) is not None and budget.limit > 0]
    return min(1.0, max(shares)) if shares else None


def _last_spent(path: Path) -> dict[str, float | None]:
    """What its last line that holds it says was spent; empty if there is none."""
    if not path.is_file():
        return {}
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read().decode("utf-8", errors="replace").split("\n")
    for line in reversed(lines):
        with contextlib.suppress(BenchmarkError):  # the first of the tail, and one being written, are cut
            if isinstance(spent := json_object(line, path.name).get("spent"), dict):
                return vars(schema.read(Spent, spent, path.name))
    return {}

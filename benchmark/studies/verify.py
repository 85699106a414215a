"""Are finished runs repeatable? They are run again from their own configuration, and the two compared row by row."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.core import provenance
from benchmark.core.errors import ConfigError
from benchmark.core.failures import explain
from benchmark.core.fields import flat
from benchmark.core.files import read_object, write_json
from benchmark.core.locks import locked
from benchmark.core.paths import without_places
from benchmark.core.seeding import derive_seed
from benchmark.grid.display import Display
from benchmark.grid.executor import execute_jobs
from benchmark.grid.finished import config_to_prepare
from benchmark.grid.jobs import Job, Preparation, RunJob
from benchmark.grid.launchers import local
from benchmark.lm.loading import device_of
from benchmark.plan.run import PROTOCOL, Run
from benchmark.run.prepared import preparation_folder
from benchmark.run.store import RunStore

TIMES = ("seconds", "ledgers")  # fields of a row that no repetition can share
LOGS = ("updates.jsonl", "curve.jsonl")
LATER = ("spent.generated_tokens", "spent.computed_tokens")  # fields that runs of earlier versions lack
IDENTICAL, WITHIN, DIFFERENT, FAILED = "identical", "within tolerance", "different", "failed"
GOOD = (IDENTICAL, WITHIN)
SAME_PLATFORM = "on the same platform and versions, where a run should repeat bit for bit"


@dataclass(frozen=True)
class First:
    """The first place where two runs differ: file, number of updates made by then, field, and both values."""

    file: str
    update: int | None
    field: str
    stored: Any
    again: Any

    def __str__(self) -> str:
        where = "" if self.update is None else f" at update {self.update}"
        return f"{self.file}{where}: {self.field} is {self.stored} in the folder, {self.again} now"


@dataclass(frozen=True)
class Verdict:
    """What became of one run.

    Attributes:
        verdict: identical (curve, log of updates and adapters, bit for bit), within tolerance, different, or failed.
        largest: largest difference of a number, relative to the largest value of its field in the stored rows; None
            where rows cannot be set beside each other.
        adapters: identical, different, or not recorded (runs of earlier versions).
        first: where they first differ.
        platform: fields of ``environment.json`` in which the two differ.
        message: why it failed, or what else a reader should know.
    """

    run: str
    verdict: str
    largest: float | None = None
    adapters: str = "not recorded"
    first: First | None = None
    platform: tuple[str, ...] = ()
    message: str = ""

    def line(self) -> str:
        parts = [self.verdict if self.largest in (None, 0) else f"{self.verdict} (largest relative difference "
                 f"{self.largest:.2g})", f"adapters {self.adapters}"]
        parts += [f"first: {self.first}"] if self.first else []
        parts += [f"other {', '.join(self.platform)}"] if self.platform and self.verdict != IDENTICAL else []
        return f"{self.run}: {'; '.join([*parts, *([self.message] if self.message else [])])}"


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    """Fields of a row: ``{"metrics.reward": 0.5}``."""
    return {name: value for name, value in flat(row).items() if not set(TIMES) & set(name.split("."))}


def compare_rows(file: str, stored: Sequence[dict[str, Any]], again: Sequence[dict[str, Any]]
                 ) -> tuple[float, First | None]:
    """Largest relative difference (inf where values cannot be subtracted), and the first of all differences."""
    rows = [without_times(row) for row in stored]
    scale: dict[str, float] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, int | float):
                scale[name] = max(scale.get(name, 0.0), abs(value))
    largest, first = 0.0, None
    for ours, theirs in zip(rows, map(without_times, again), strict=False):
        for name in [*ours, *(name for name in theirs if name not in ours and name not in LATER)]:
            one, other = ours.get(name), theirs.get(name)
            if one == other:
                continue
            first = first or First(file, ours.get("update"), name, one, other)
            if isinstance(one, int | float) and isinstance(other, int | float):
                largest = max(largest, abs(one - other) / max(scale.get(name, 0.0), abs(other)))
            else:
                largest = math.inf
    if len(rows) != len(again):
        first = first or First(file, None, "number of rows", len(rows), len(again))
        largest = math.inf
    return largest, first


def compare(name: str, stored: RunStore, again: RunStore, tolerance: float) -> Verdict:
    """Hold a finished run against its repetition.

    Raises:
        BenchmarkError: the stored run is damaged.
    """
    summary, repeated = stored.summary(), again.summary()
    largest, found = 0.0, list[First]()
    for file in LOGS:
        if file == "updates.jsonl" and not (stored.folder / file).is_file():  # execution.keep = curves
            continue
        apart, first = compare_rows(file, stored.rows(file), again.rows(file))
        largest, found = max(largest, apart), found + ([first] if first else [])
    adapters = "not recorded"
    if "adapters" in summary:
        both = summary["adapters"], repeated["adapters"]
        names = [name for name in sorted(both[0] | both[1]) if both[0].get(name) != both[1].get(name)]
        adapters = "different" if names else "identical"
        found += [First("adapters/" + name, None, "sha256", *(digests.get(name) for digests in both))
                  for name in names[:1]]
    if summary["status"] != repeated["status"]:
        found.append(First("summary.json", None, "status", summary["status"], repeated["status"]))
        largest = math.inf
    verdict = IDENTICAL if not found else WITHIN if largest <= tolerance else DIFFERENT
    # An evaluation comes after the update it is counted with, so of two first differences the log's is the earlier.
    earliest = min(found, key=lambda item: math.inf if item.update is None else item.update, default=None)
    platform = _platform(stored, again)
    message = SAME_PLATFORM if verdict == WITHIN and not platform else ""
    return Verdict(name, verdict, largest if math.isfinite(largest) else None, adapters, earliest, platform, message)


def _platform(stored: RunStore, again: RunStore) -> tuple[str, ...]:
    both = [json.loads((store.folder / "environment.json").read_text(encoding="utf-8")) for store in (stored, again)]
    names = ("commit", "dirty", "python", "packages", "platform", "hardware", "cuda", "device", "threads")
    return tuple(name for name in names if both[0].get(name) != both[1].get(name))


def sample(runs: list[tuple[Run, RunStore]], count: int | None) -> list[tuple[Run, RunStore]]:
    """``count`` of ``runs``, always the same ones, in their order; all if it is None."""
    if count is None:
        return runs
    chosen = sorted(runs, key=lambda item: derive_seed("verify", item[0].name))[:count]
    return [item for item in runs if item in chosen]


class Repetition(RunJob):
    """Named as its folder: a result set may hold several settings of a method."""

    @property
    def name(self) -> str:
        return self.run.name


def repeat(runs: list[tuple[Run, RunStore]], folder: Path, cache: Path, data: str | None, tolerance: float,
           report: Callable[[str], None]) -> list[Verdict]:
    """Run ``runs`` again into ``folder`` and compare; one verdict each.

    Args:
        cache, data: as for :func:`benchmark.grid.finished.prepared_for`.
    """
    preparations: dict[Path, Preparation] = {}
    places: list[Repetition | Verdict] = []
    for run, store in runs:
        try:
            store.summary()
            again = on_this_machine(run)
            prepared = preparation_folder(again, cache)
            if not (prepared / "preparation.json").is_file() and prepared not in preparations:
                preparations[prepared] = Preparation(again.task, again.seed, prepared, config_to_prepare(again, data),
                                                     again.start_versions)
            places.append(Repetition(again, prepared, folder))
        except Exception as error:  # what keeps one run from being repeated must not stop the others
            places.append(Verdict(store.folder.name, FAILED, message=explain(error)[1]))
    jobs: list[Job] = [*preparations.values(), *(place for place in places if isinstance(place, Repetition))]
    workers = runs[0][0].config.execution.workers
    with Display(jobs, "budgets as they were", workers=workers) as display:
        outcome = execute_jobs(jobs, local(workers), display)
    if outcome.interrupted:
        raise KeyboardInterrupt
    found = []
    for (_, store), place in zip(runs, places, strict=True):
        if isinstance(place, Repetition):
            name = store.folder.name
            place = (compare(name, store, place.store, tolerance) if place.name in outcome.done
                     else Verdict(name, FAILED, message=outcome.failed[place.name]))
        found.append(place)
        report(place.line())
    return found


def on_this_machine(run: Run) -> Run:
    """``run`` on its own device, or where that does not exist on the one that ``auto`` finds."""
    execution = run.config.execution
    try:
        device_of(execution)
        return run
    except ConfigError:
        device = str(device_of(replace(execution, device="auto")))
        return replace(run, config=replace(run.config, execution=replace(execution, device=device)))


def verify(folder: Path, runs: list[tuple[Run, RunStore]], cache: Path, data: str | None, tolerance: float,
           report: Callable[[str], None]) -> list[Verdict]:
    """Repeat ``runs`` in a temporary folder; write ``folder/verify.json``.

    Raises:
        ConfigError: a run cannot be repeated exactly, because its budget is one of seconds or its protocol another.
    """
    other = [(run, store) for run, store in runs if run.protocol != PROTOCOL]
    if other:
        run, store = other[0]
        made = read_object(store.folder / "environment.json").get("commit")
        raise ConfigError(f"verify: {run.name} was made under protocol {run.protocol}, and this version follows "
                          f"{PROTOCOL}, which gives other numbers. Check out the commit that made it"
                          f"{f' ({made[:10]})' if made else ''} and verify it there.")
    timed = [run.name for run, _ in runs if run.budget.kind == "seconds"]
    if timed:
        raise ConfigError(f"verify: {timed[0]} has a budget of seconds, which no repetition shares. Choose others by "
                          f"--task, --method and --seed.")
    with tempfile.TemporaryDirectory(prefix="verify-") as temporary:
        verdicts = repeat(runs, Path(temporary), cache, data, tolerance, report)
    revision, dirty = provenance.commit()
    result = {
        "tolerance": tolerance, "commit": revision, "dirty": dirty, "packages": provenance.packages(),
        "counts": {verdict: sum(v.verdict == verdict for v in verdicts)
                   for verdict in (IDENTICAL, WITHIN, DIFFERENT, FAILED)},
        "runs": [asdict(verdict) | {"message": without_places(verdict.message)} for verdict in verdicts]}
    with locked(folder / "verify.json"):  # of two commands that end together one writes after the other
        write_json(folder / "verify.json", result)
    return verdicts

"""Bundles: runs of one preparation, written down as JSON so that another machine can carry them out.

A bundle holds descriptions, as ``config.json`` does, and is checked like one when it is read; nothing of it is run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.core import provenance
from benchmark.core.digests import code_digest
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.core.files import write_json
from benchmark.core.paths import BUNDLED
from benchmark.core.sections import EngineSettings
from benchmark.core.storage import ENGINE
from benchmark.grid.jobs import Job, Preparation, RunJob, jobs_for
from benchmark.plan.plugins import LOADED, Plugin, load_again
from benchmark.plan.resolve import Config
from benchmark.plan.run import Run, run_of
from benchmark.run.store import RunStore

FORMAT = 1
PLACES = (("data", "folder"), ("model", "path"), ("judge", "path"))  # fields that say where something lies


@dataclass(frozen=True)
class Bundle:
    """Jobs that are one job of an engine.

    Attributes:
        jobs: runs of one preparation, after that where it is to be made.
        runs: the runs that the file describes: those of ``jobs``, or one that needs the preparation.
        after: name of the bundle that makes their preparation, if another one does.
    """

    name: str
    jobs: tuple[Job, ...]
    runs: tuple[RunJob, ...]
    after: str = ""

    @property
    def settings(self) -> EngineSettings:
        return self.runs[0].run.config.engine


def bundles_of(jobs: list[Job]) -> list[Bundle]:
    """``jobs`` in bundles, those that make a preparation for several others first."""
    missing = {job.folder: job for job in jobs if isinstance(job, Preparation)}
    groups: dict[Path, list[RunJob]] = {}
    for job in jobs:
        if isinstance(job, RunJob):
            groups.setdefault(job.preparation, []).append(job)
    first, rest = [], []
    for folder, runs in groups.items():
        size = runs[0].run.config.engine.bundle or len(runs)
        parts = [tuple(runs[start : start + size]) for start in range(0, len(runs), size)]
        preparation, after = missing.get(folder), ""
        if preparation and len(parts) > 1:
            after = f"prepare__{folder.name}"
            first.append(Bundle(after, (preparation,), (runs[0],)))
            preparation = None
        for part in parts:
            digest = hashlib.sha256("\n".join(job.run.name for job in part).encode()).hexdigest()[:8]
            name = f"{part[0].run.task}__s{part[0].run.seed}__{digest}"
            rest.append(Bundle(name, (*((preparation,) if preparation else ()), *part), part, after))
    return [*first, *rest]


def write_bundle(path: Path, bundle: Bundle, cache: Path, marker: str) -> None:
    """Write ``bundle`` to ``path``.

    Args:
        marker: name of the files that :func:`mark` has written.
    """
    runs = [{"name": job.run.name, "run": job.run.identity(), "config": job.run.resolved(),
             "places": _places(job.run.config)} for job in bundle.runs]
    execution, settings = bundle.runs[0].run.config.execution, bundle.settings
    write_json(path, {
        "format": FORMAT, "out": str(bundle.runs[0].out.absolute()), "cache": str(cache.absolute()), "marker": marker,
        "only_prepare": all(isinstance(job, Preparation) for job in bundle.jobs),
        "workers": max(1, min(execution.workers, settings.cpus // execution.threads)), **software(),
        "plugins": [{"name": plugin.name, "digest": plugin.digest, "file": plugin.file} for plugin in LOADED.values()],
        "runs": runs})


def software() -> dict[str, Any]:
    """What must be the same on all machines of a grid."""
    return {"code": code_digest(), "packages": provenance.packages()}


def mark(folder: Path, marker: str) -> None:
    """Leave the file that the other machines must find in ``folder``."""
    write_json(folder / ENGINE / f"{marker}.json", {"marker": marker})


@dataclass(frozen=True)
class Work:
    """What a bundle's file asks of this machine."""

    jobs: list[Job]
    workers: int


def read_bundle(path: Path, trust_remote_code: bool = False) -> Work:
    """The jobs of a bundle that are not finished, checked for this machine.

    Args:
        trust_remote_code: as for :func:`benchmark.plan.run.load_run`.

    Raises:
        BenchmarkError: the file cannot be read, or this machine has other folders, code or packages than the one that
            wrote it.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["format"] != FORMAT:
            raise ValueError(f"format {stored['format']}, not {FORMAT}")
        out, cache = Path(stored["out"]), Path(stored["cache"])
        _check_machine(out, cache, stored)
        load_again(Plugin(plugin["name"], "", plugin["digest"], frozenset(), Path(), plugin["file"])
                   for plugin in stored["plugins"])
        runs = [_run(entry, path.name, trust_remote_code) for entry in stored["runs"]]
        workers, only_prepare = int(stored["workers"]), bool(stored["only_prepare"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise BenchmarkError(f"{path.name}: not a bundle of this version ({error}).") from None
    if only_prepare:
        return Work([job for job in jobs_for(runs, out, cache) if isinstance(job, Preparation)], workers)
    return Work(jobs_for((run for run in runs if not RunStore(out / run.name).done), out, cache), workers)


def _check_machine(out: Path, cache: Path, stored: dict[str, Any]) -> None:
    for option, folder in (("--out", out), ("--cache", cache)):
        try:  # opened, not looked up: a network file system may remember for a while that there was nothing
            found = json.loads((folder / ENGINE / f"{stored['marker']}.json").read_text(encoding="utf-8"))["marker"]
        except (OSError, ValueError, LookupError, TypeError):
            found = None
        if found != stored["marker"]:
            raise ConfigError(f"{option} {folder} is not the same folder on this machine and on the one that the "
                              f"command was given on. Pass {option} on storage that both share, under one path.")
    now = software()
    apart = [f"{name} {stored['packages'].get(name)} there, {version} here"
             for name, version in now["packages"].items() if stored["packages"].get(name) != version]
    if now["code"] != stored["code"]:
        apart.append(f"the suite's own code {stored['code']} there, {now['code']} here")
    if apart:
        raise ConfigError(f"this machine would compute with other software than the one that the command was given on: "
                          f"{'; '.join(apart)}. Use one environment for all, and repeat the command after a change.")


def _places(config: Config) -> dict[str, str]:
    """Absolute paths of what ``config`` takes from folders."""
    named = {f"{section}.{name}": getattr(getattr(config, section), name) for section, name in PLACES}
    return {field: str(Path(value).absolute()) for field, value in named.items()
            if value not in ("", BUNDLED) and Path(value).exists()}


def _run(entry: dict[str, Any], place: str, trust_remote_code: bool) -> Run:
    run = run_of(entry, place, trust_remote_code)
    config = run.config
    for section, name in PLACES:
        if (value := entry["places"].get(f"{section}.{name}")) is not None:
            config = dataclasses.replace(config, **{
                section: dataclasses.replace(getattr(config, section), **{name: str(value)})})
    run = dataclasses.replace(run, config=config)
    if run.name != entry["name"]:
        raise ConfigError(f"{place}: {str(entry['name'])[:80]} is no name of a run with its configuration; that is "
                          f"{run.name}.")
    return run

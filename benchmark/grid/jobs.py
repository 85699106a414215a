"""The jobs of a grid: preparations, and the runs that need them. A job is a picklable value that knows all it needs."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from benchmark.core import stopping
from benchmark.core.errors import BenchmarkError, Busy, DataError
from benchmark.core.failures import explain
from benchmark.core.locks import locked
from benchmark.core.paths import without_places
from benchmark.core.sections import Execution
from benchmark.plan.plugins import Plugin, load_again
from benchmark.plan.resolve import Config
from benchmark.plan.run import Run, model_digests
from benchmark.plan.sources import read_tasks
from benchmark.run.loop import execute
from benchmark.run.prepared import Prepared, other_code, preparation_folder
from benchmark.run.store import RunStore
from benchmark.start.build import prepare


@dataclass(frozen=True)
class Preparation:
    """The job that builds what all methods of a (task, seed) share."""

    task: str
    seed: int
    folder: Path
    config: Config
    versions: dict[str, str] = field(default_factory=dict, hash=False)  # of rows and models, by which it is named
    renew: bool = False  # make again what other code made

    @property
    def name(self) -> str:
        return f"prepare {self.task} s{self.seed}"

    def execute(self, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        source = read_tasks(self.config, [self.task])[self.task]
        now = {**source.versions(), **model_digests(self.config)}
        if other := [name for name, version in self.versions.items() if now.get(name) != version]:
            raise DataError(f"{self.task}: its rows, or a model's files, have changed since the command began, or are "
                            f"not those of the runs to be repeated ({', '.join(other)}). Repeat the command, with the "
                            f"--data and --model of those runs.")
        prepared = prepare(self.folder, self.config, self.task, source.data, self.seed, report, self.renew)
        return self.outcome(prepared.info)

    @staticmethod
    def outcome(info: Mapping[str, Any]) -> dict[str, Any]:
        """What is told of a preparation that is there, from its ``preparation.json``."""
        return {"status": "done", "seconds": info["seconds"], "accuracy": info["reward_accuracy"]}

    def record_failure(self, kind: str, message: str, details: str) -> None:
        """A preparation leaves no record of its own; the runs that needed it do."""


@dataclass(frozen=True)
class RunJob:
    """The job that executes one run."""

    run: Run
    preparation: Path
    out: Path

    @property
    def name(self) -> str:
        return f"{self.run.task} {self.run.method} s{self.run.seed}"

    @property
    def store(self) -> RunStore:
        return RunStore(self.out / self.run.name)

    def execute(self, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        with locked(self.store.folder):
            if self.store.done:  # by another command, while this one waited
                return self.store.summary()
            prepared = Prepared(self.preparation, self.run.config, self.run.task)
            return execute(self.run, prepared, self.store, report)

    def record_failure(self, kind: str, message: str, details: str) -> None:
        # A full disk may be why it failed, and another command may work on the folder by now; the terminal names the
        # failure anyhow, and what goes wrong here must not stop the other jobs.
        with contextlib.suppress(Exception), locked(self.store.folder, patience=1.0):
            if not self.store.done:
                self.store.fail(kind, without_places(message), without_places(details))


Job = Preparation | RunJob


def jobs_for(runs: Iterable[Run], out: Path, cache: Path, make: Callable[[Run, Path, Path], RunJob] = RunJob,
             renew: bool = False) -> list[Job]:
    """The preparations that ``runs`` lack, then their own jobs in the order of ``runs``.

    Args:
        renew: preparations that other code made are made again.
        make: (run, folder of its preparation, ``out``) → its job.
    """
    preparations: dict[Path, Preparation] = {}
    jobs: list[Job] = []
    for run in runs:
        folder = preparation_folder(run, cache)
        if not (folder / "preparation.json").is_file() or (renew and other_code(folder)):
            preparations.setdefault(folder, Preparation(run.task, run.seed, folder, run.config, run.start_versions,
                                                        renew))
        jobs.append(make(run, folder, out))
    return [*preparations.values(), *jobs]


def as_configured(execution: Execution) -> None:
    """Have torch compute in this process as ``execution`` says: what can move the last bits of a result."""
    torch.set_num_threads(execution.threads)
    if execution.device != "cpu":  # same hash, same curve: no atomic additions on the device
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def attempt(job: Job, report: Callable[[dict[str, Any]], None], plugins: Sequence[Plugin] = ()) -> dict[str, Any]:
    """Execute ``job``; a failure is recorded beside what the job wrote, and returned.

    Args:
        plugins: those that the job may need and this process has not loaded yet.
    """
    logging.disable_progress_bar()
    as_configured((job.config if isinstance(job, Preparation) else job.run.config).execution)
    try:
        load_again(plugins)
        with stopping.deferred():
            return job.execute(report)
    except KeyboardInterrupt:
        job.record_failure("Interrupted", "stopped before it was finished", "")
        raise
    except BrokenPipeError:
        raise
    except Busy as error:  # what is in the folder is the other process's
        return {"status": "failed", "message": str(error)}
    except Exception as error:  # whatever one run dies of must not stop the others
        kind, message = explain(error)
        frames = [] if isinstance(error, BenchmarkError) else traceback.extract_tb(error.__traceback__)
        details = "\n".join(f"{Path(f.filename).name}:{f.lineno} {f.name}: {f.line}" for f in frames)
        job.record_failure(kind, message, details)
        return {"status": "failed", "message": message}

"""Runs the grid: each job in a process of its own, several at a time, preparation before the runs that need it.

A process per run keeps memory figures clean and lets the others go on when one is killed. The parent learns how a job
fares from its pipe; a job whose parent is gone stops at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmark.core.errors import BenchmarkError, Busy, DataError
from benchmark.core.paths import without_places
from benchmark.core.sections import Execution
from benchmark.core.terminal import guarded
from benchmark.plan.resolve import Config
from benchmark.plan.run import Run
from benchmark.run.store import RunStore

EXIT_ORPHAN = 3  # of a job whose command was killed


class Interrupted(Exception):
    """The user, or the system, asked the job to stop."""


@dataclass(frozen=True)
class Preparation:
    """The job that builds what all methods of a (task, seed) share."""

    task: str
    seed: int
    folder: Path
    config: Config
    versions: dict[str, str] = field(default_factory=dict, hash=False)  # of rows and models, by which it is named

    @property
    def name(self) -> str:
        return f"prepare {self.task} s{self.seed}"

    def execute(self, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        from benchmark.plan.run import model_digests
        from benchmark.plan.sources import read_tasks
        from benchmark.start.build import prepare

        source = read_tasks(self.config, [self.task])[self.task]
        now = {**source.versions(), **model_digests(self.config)}
        if any(now.get(name) != version for name, version in self.versions.items()):
            raise DataError(f"{self.task}: its rows, or a model's files, have changed since the command began. Repeat "
                            f"the command.")
        prepared = prepare(self.folder, self.config, self.task, source.data, self.seed, report)
        return {"status": "done", "seconds": prepared.info["seconds"], "accuracy": prepared.info["reward_accuracy"]}

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
        from benchmark.core.locks import locked
        from benchmark.run.loop import execute
        from benchmark.run.prepared import Prepared

        with locked(self.store.folder):
            if self.store.done:  # by another command, while this one waited
                return self.store.summary()
            prepared = Prepared(self.preparation, self.run.config, self.run.task)
            return execute(self.run, prepared, self.store, report)

    def record_failure(self, kind: str, message: str, details: str) -> None:
        from benchmark.core.locks import locked

        # A full disk may be why it failed, and another command may work on the folder by now; the terminal names the
        # failure anyhow.
        with contextlib.suppress(OSError, BenchmarkError), locked(self.store.folder, patience=1.0):
            if not self.store.done:
                self.store.fail(kind, without_places(message), without_places(details))


Job = Preparation | RunJob


def jobs_for(runs: Iterable[Run], out: Path, cache: Path, make: Callable[[Run, Path, Path], RunJob] = RunJob
             ) -> list[Job]:
    """The preparations that ``runs`` lack, then their own jobs in the order of ``runs``.

    Args:
        make: (run, folder of its preparation, ``out``) → its job.
    """
    from benchmark.plan.run import cache_folder
    from benchmark.run.prepared import preparation_key

    preparations: dict[Path, Preparation] = {}
    jobs: list[Job] = []
    for run in runs:
        folder = cache_folder(cache, run.task, run.seed, preparation_key(run.config, run.task, run.seed, run.versions))
        if not (folder / "preparation.json").is_file():
            preparations.setdefault(folder, Preparation(run.task, run.seed, folder, run.config, run.versions))
        jobs.append(make(run, folder, out))
    return [*preparations.values(), *jobs]


class Watcher(Protocol):
    """Who is told how jobs fare (the display)."""

    def started(self, job: Job) -> None: ...
    def progress(self, job: Job, state: dict[str, Any]) -> None: ...
    def ended(self, job: Job, outcome: dict[str, Any]) -> None: ...


@dataclass
class Outcome:
    """What became of the jobs, by name: finished ones with their summaries, the others with a reason."""

    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def as_configured(execution: Execution) -> None:
    """Have torch compute in this process as ``execution`` says: what can move the last bits of a result."""
    import torch

    torch.set_num_threads(execution.threads)
    if execution.device != "cpu":  # same hash, same curve: no atomic additions on the device
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def attempt(job: Job, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Execute ``job``; a failure is recorded beside what the job wrote, and returned."""
    from transformers.utils import logging

    from benchmark.core.failures import explain

    logging.disable_progress_bar()
    as_configured((job.config if isinstance(job, Preparation) else job.run.config).execution)
    try:
        return job.execute(report)
    except (KeyboardInterrupt, Interrupted):
        job.record_failure("Interrupted", "stopped before it was finished", "")
        raise
    except BrokenPipeError:
        raise
    except Busy as error:  # what is in the folder is the other process's
        return {"status": "failed", "message": str(error)}
    except Exception as error:  # whatever one run dies of must not stop the others
        expected = isinstance(error, BenchmarkError)
        kind, message = explain(error)
        frames = [] if expected else traceback.extract_tb(error.__traceback__)
        details = "\n".join(f"{Path(f.filename).name}:{f.lineno} {f.name}: {f.line}" for f in frames)
        job.record_failure(kind, message, details)
        return {"status": "failed", "message": message}


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however that ended: a killed command leaves nobody behind
    who would write into the folders of its successor."""
    parent = multiprocessing.parent_process()
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(EXIT_ORPHAN)


def _child(job: Job, pipe: multiprocessing.connection.Connection) -> None:
    """Body of a job's process. Ctrl-C is the parent's business; it then asks with SIGTERM."""
    def stop(*_: Any) -> None:
        raise Interrupted

    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    try:
        with guarded():
            pipe.send(("ended", attempt(job, lambda state: pipe.send(("progress", state)))))
    except (Interrupted, BrokenPipeError):
        raise SystemExit(130) from None


@dataclass
class _Running:
    job: Job
    process: Any
    pipe: Any
    outcome: dict[str, Any] | None = None


def execute_jobs(jobs: list[Job], workers: int, watcher: Watcher) -> Outcome:
    """Execute ``jobs``, a run only after the preparation it needs.

    Args:
        workers: processes at the same time; 0 = one job after the other in this process.

    Returns:
        The outcome; on Ctrl-C whatever was finished until then, with ``interrupted`` set.
    """
    pending, running, outcome = list(jobs), [], Outcome()
    awaited = {job.folder for job in jobs if isinstance(job, Preparation)}
    broken: dict[Path, str] = {}

    def settle(job: Job, result: dict[str, Any]) -> None:
        if result["status"] == "failed":
            outcome.failed[job.name] = result["message"]
        else:
            outcome.done[job.name] = result
        if isinstance(job, Preparation):
            awaited.discard(job.folder)
            if result["status"] == "failed":
                broken[job.folder] = f"its preparation failed: {result['message']}"
        watcher.ended(job, result)

    def next_job() -> Job | None:
        for job in pending:
            if isinstance(job, RunJob) and job.preparation in awaited:
                continue
            pending.remove(job)
            return job
        return None

    context = multiprocessing.get_context("forkserver" if hasattr(signal, "SIGKILL") else "spawn")
    if workers:
        context.set_forkserver_preload(["benchmark.run.loop", "benchmark.start.build", "peft"])
    try:
        while pending or running:
            while len(running) < max(1, workers) and (job := next_job()) is not None:
                if isinstance(job, RunJob) and job.preparation in broken:
                    job.record_failure("PreparationFailed", broken[job.preparation], "")
                    settle(job, {"status": "failed", "message": broken[job.preparation]})
                    continue
                watcher.started(job)
                if not workers:
                    settle(job, attempt(job, lambda state, job=job: watcher.progress(job, state)))
                    continue
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(job, there), daemon=True)
                process.start()
                there.close()
                running.append(_Running(job, process, here))
            _listen(running, watcher)
            for item in [r for r in running if not r.process.is_alive()]:
                _drain(item, watcher)
                running.remove(item)
                settle(item.job, item.outcome or _died(item))
    except KeyboardInterrupt:
        outcome.interrupted = True
        _stop(running)
    return outcome


def _listen(running: list[_Running], watcher: Watcher) -> None:
    if running:
        open_pipes = [r.pipe for r in running if not r.pipe.closed]
        multiprocessing.connection.wait([r.process.sentinel for r in running] + open_pipes, timeout=0.5)
        for item in running:
            _drain(item, watcher)


def _drain(item: _Running, watcher: Watcher) -> None:
    """Read everything a job has said."""
    while not item.pipe.closed:
        try:
            if not item.pipe.poll():
                return
            kind, value = item.pipe.recv()
        except (EOFError, OSError):  # it has ended, or was killed in the middle of a message
            item.pipe.close()
            return
        if kind == "ended":
            item.outcome = value
        else:
            watcher.progress(item.job, value)


def _died(item: _Running) -> dict[str, Any]:
    code = item.process.exitcode
    why = f"killed by signal {-code} ({signal.Signals(-code).name})" if code and code < 0 else f"exit code {code}"
    hint = " Probably out of memory: fewer --workers, or a smaller execution.forward_batch." if code == -9 else ""
    message = f"its process ended without a word: {why}.{hint}"
    item.job.record_failure("ProcessDied", message, "")
    return {"status": "failed", "message": message}


def _stop(running: list[_Running]) -> None:
    for item in running:
        item.process.terminate()
    for item in running:
        item.process.join(10)
        if item.process.is_alive():
            item.process.kill()

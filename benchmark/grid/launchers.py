"""Where jobs are executed: in this process, or each in a process of its own on this machine.

A process per run keeps memory figures clean and lets the others go on when one is killed. The parent learns how a job
fares from its pipe; a job whose parent is gone stops at once.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchmark.core import stopping
from benchmark.core.locks import EXIT_ORPHAN
from benchmark.core.terminal import guarded
from benchmark.grid.jobs import Job, attempt
from benchmark.plan.plugins import LOADED, Plugin

UNGUARDED = ("its process could not begin: the script that called the command line has no main guard, and every job's "
             "process reads the script again. Put the call below `if __name__ == \"__main__\":`, or pass --workers 0.")
Tell = Callable[[Job, dict[str, Any]], None]


class Handle(Protocol):
    """A job that was started."""

    job: Job

    def poll(self, tell: Tell) -> dict[str, Any] | None:
        """Tell what the job has said since the last call; its result if it has ended."""


class Launcher(Protocol):
    """A place for jobs. All it gets is the job, a picklable value; the folders that a job names must be there too."""

    slots: int  # jobs at the same time

    def start(self, job: Job) -> Handle: ...

    def wait(self, handles: Sequence[Any]) -> None:
        """Return when one of ``handles`` may have something to tell, or after a moment."""

    def stop(self, handles: Sequence[Any]) -> None:
        """Have the jobs end now."""


def local(workers: int) -> Launcher:
    """``workers`` processes of this machine; 0 = one job after the other in this process."""
    return LocalProcesses(workers) if workers else InProcess()


class InProcess:
    """One job after the other in this process, executed when it is polled; with one slot it is its own handle."""

    slots = 1

    def start(self, job: Job) -> InProcess:
        self.job = job
        return self

    def poll(self, tell: Tell) -> dict[str, Any]:
        return attempt(self.job, lambda state: tell(self.job, state))

    def wait(self, handles: Sequence[Any]) -> None: ...
    def stop(self, handles: Sequence[Any]) -> None: ...


class LocalProcesses:
    """Each job in a process of its own."""

    def __init__(self, slots: int):
        self.slots = slots
        self._context: Any = multiprocessing.get_context("forkserver" if hasattr(signal, "SIGKILL") else "spawn")
        self._context.set_forkserver_preload(["benchmark.grid.deaf", "benchmark.grid.jobs", "peft"])

    def start(self, job: Job) -> Child:
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_child, args=(job, there, tuple(LOADED.values()), stopping.ignored()),
                                        daemon=True)
        process.start()
        there.close()
        return Child(job, process, here)

    def wait(self, handles: Sequence[Child]) -> None:
        open_pipes = [handle.pipe for handle in handles if not handle.pipe.closed]
        multiprocessing.connection.wait([handle.process.sentinel for handle in handles] + open_pipes, timeout=0.5)

    def stop(self, handles: Sequence[Child]) -> None:
        for handle in handles:
            handle.process.terminate()
        for handle in handles:
            handle.process.join(stopping.GRACE + 4)
            if handle.process.is_alive():
                handle.process.kill()


@dataclass(eq=False)
class Child:
    """A job in a process of its own, and the near end of its pipe."""

    job: Job
    process: Any
    pipe: Any
    result: dict[str, Any] | None = None

    def poll(self, tell: Tell) -> dict[str, Any] | None:
        alive = self.process.is_alive()  # before its pipe is emptied: nothing comes after that if it is not
        while not self.pipe.closed:
            try:
                if not self.pipe.poll():
                    break
                kind, value = self.pipe.recv()
            except (EOFError, OSError):  # it has ended, or was killed in the middle of a message
                self.pipe.close()
                break
            if kind == "ended":
                self.result = value
            else:
                tell(self.job, value)
        return None if alive else self.result or self._died()

    def _died(self) -> dict[str, Any]:
        code = self.process.exitcode
        if code == stopping.EXIT_UNGUARDED:
            self.job.record_failure("ProcessDied", UNGUARDED, "")
            return {"status": "failed", "message": UNGUARDED}
        why = f"killed by signal {-code} ({signal.Signals(-code).name})" if code and code < 0 else f"exit code {code}"
        hint = " Probably out of memory: fewer --workers, or a smaller execution.forward_batch." if code == -9 else ""
        message = f"its process ended without a word: {why}.{hint}"
        self.job.record_failure("ProcessDied", message, "")
        return {"status": "failed", "message": message}


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however that ended: a killed command leaves nobody behind
    who would write into the folders of its successor."""
    parent: Any = multiprocessing.parent_process()
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(EXIT_ORPHAN)


def _child(job: Job, pipe: multiprocessing.connection.Connection, plugins: tuple[Plugin, ...],
           ignored: tuple[int, ...]) -> None:
    """Body of a job's process. Ctrl-C is the parent's business; it then asks with SIGTERM.

    Args:
        ignored: signals that the command ignores.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.watched(leave=ignored), guarded():
            pipe.send(("ended", attempt(job, lambda state: pipe.send(("progress", state)), plugins)))
    except (KeyboardInterrupt, BrokenPipeError):
        raise SystemExit(130) from None

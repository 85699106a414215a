"""``python -m benchmark work BUNDLE``: the executor of one machine, with the jobs of a bundle."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from benchmark.core import stopping
from benchmark.core.errors import BenchmarkError
from benchmark.core.locks import EXIT_ORPHAN
from benchmark.engines.bundle import read_bundle
from benchmark.engines.report import Report
from benchmark.grid.executor import execute_jobs
from benchmark.grid.launchers import LocalProcesses

EXIT_AGAIN = 75  # of a bundle that was stopped and can go on


def work(bundle: Path, trust_remote_code: bool = False) -> int:
    """Carry out ``bundle`` on this machine, each job in a process; the exit code.

    Args:
        trust_remote_code: as for :func:`benchmark.plan.run.load_run`.
    """
    signals = (*stopping.SIGNALS, signal.SIGINT)

    def stop(*_: Any) -> None:
        for number in signals:  # told once more (by submitit), it must still be able to end its jobs
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    if not bundle.is_file():
        raise BenchmarkError(f"{bundle}: no such bundle on this machine. If an engine was to carry it out, --out is "
                             f"not on storage that its nodes share.")
    report = Report(bundle)
    try:
        for number in signals:
            signal.signal(number, stop)
        found = read_bundle(bundle, trust_remote_code)
        outcome = execute_jobs(found.jobs, LocalProcesses(found.workers), report)
        interrupted = outcome.interrupted
    except KeyboardInterrupt:
        interrupted = True
    except BenchmarkError as error:
        report.end(refused=str(error))
        raise
    report.end(interrupted=interrupted)
    return EXIT_AGAIN if interrupted else int(bool(outcome.failed))


def end_with_input() -> None:
    """End this process, and with it its jobs, as soon as its standard input does: whoever started it is gone."""
    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os._exit(EXIT_ORPHAN)

    threading.Thread(target=wait, daemon=True).start()

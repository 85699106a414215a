"""What has become of runs that are with an engine, and how they are taken back."""

from __future__ import annotations

from pathlib import Path

from benchmark.core.errors import ConfigError
from benchmark.core.locks import holder
from benchmark.core.storage import ENGINE
from benchmark.engines.available import engine_of
from benchmark.engines.queue import ALIVE, Engine, Ledger


def sent(out: Path) -> dict[str, str]:
    """Name → "queued" or "lost" of every run of ``out`` that was sent to an engine, and not heard the end of."""
    ledger = Ledger(out)
    if not ledger.entries:
        return {}
    if holder(out / ENGINE):  # the command that sent them looks on, and sends again what is lost
        return dict.fromkeys(ledger.runs(), "queued")
    found: dict[str, str] = {}
    try:
        engine = _alone(ledger)
    except ConfigError:  # it cannot be asked from here
        return dict.fromkeys(ledger.runs(), "queued")
    for entry in ledger.entries.values():
        state = "queued" if engine and engine.fate(entry.number) == ALIVE else "lost"
        found |= {run: state for run in entry.runs if found.get(run) != "queued"}
    return found


def cancel(out: Path) -> str:
    """Take back what of ``out`` is with an engine; what was done.

    Raises:
        ConfigError: no such folder, or the engine cannot be reached from here.
    """
    if not out.is_dir():
        raise ConfigError(f"{out}: no such folder. Pass the --out folder of a run command.")
    ledger = Ledger(out)
    if not ledger.entries:
        return f"{out}: nothing is with an engine"
    count = f"{len(ledger.entries)} bundles of {len(ledger.runs())} runs"
    if looking := holder(out / ENGINE):
        ledger.request.touch()
        return f"process {looking}, which looks on, was asked to cancel {count}"
    if engine := _alone(ledger):
        engine.cancel([entry.number for entry in ledger.entries.values()])
    ledger.entries.clear()
    ledger.save()
    return f"cancelled: {count}; finished runs and checkpoints are kept"


def _alone(ledger: Ledger) -> Engine | None:
    """The engine, if it goes on with what a command has sent that is gone."""
    return engine_of(ledger.settings, ledger.out) if (ledger.kind, ledger.cluster) == ("slurm", "slurm") else None

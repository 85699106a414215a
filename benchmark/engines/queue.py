"""What an engine is to the command that uses it, and the ledger of the bundles that are with one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from benchmark.core.errors import ConfigError
from benchmark.core.files import write_json
from benchmark.core.paths import own_folder
from benchmark.core.sections import EngineSettings
from benchmark.core.storage import ENGINE

# What has become of a bundle, as its engine tells it.
ALIVE, ENDED, LOST, TIMEOUT, MEMORY, CANCELLED = "alive", "ended", "lost", "timeout", "memory", "cancelled"


class Engine(Protocol):
    """A queue on a cluster. It gets words, and files are all that comes back.

    Attributes:
        detached: whether bundles go on when the command that sent them has ended.
    """

    detached: bool

    def send(self, words: Sequence[Sequence[str]], settings: EngineSettings, after: str = "") -> list[str]:
        """Have ``work`` called with each of ``words``, once the one with the number ``after`` has ended; the engine's
        numbers of them."""

    def fate(self, number: str) -> str:
        """ALIVE while it waits or works, else what has become of it."""

    def cancel(self, numbers: Sequence[str]) -> None:
        """Have them end now; those that have ended are left out in silence."""


@dataclass
class Entry:
    """A bundle that was sent: the engine's number of it, how often it was sent, and the runs in it."""

    number: str
    sent: int
    runs: tuple[str, ...]


class Ledger:
    """``jobs.json`` in the engine's folder: who looks on later, or repeats the command, knows what is on its way."""

    def __init__(self, out: Path):
        self.out, self.kind, self.cluster = out, "", ""
        self.entries: dict[str, Entry] = {}
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            self.kind, self.cluster = str(stored["kind"]), str(stored["cluster"])
            self.entries = {str(name): Entry(str(entry["number"]), int(entry["sent"]), tuple(map(str, entry["runs"])))
                            for name, entry in stored["bundles"].items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ConfigError(f"{self.path}: cannot be read ({error}). Remove it if nothing of {out} is in a queue any "
                              f"more.") from None

    @property
    def path(self) -> Path:
        return self.out / ENGINE / "jobs.json"

    @property
    def request(self) -> Path:
        """The file by which ``cancel`` asks the command that looks on to stop."""
        return self.out / ENGINE / "cancel"

    @property
    def settings(self) -> EngineSettings:
        return EngineSettings(kind=self.kind or "local", cluster=self.cluster or "slurm")

    def save(self) -> None:
        write_json(self.path, {"kind": self.kind, "cluster": self.cluster, "bundles": {
            name: asdict(entry) for name, entry in self.entries.items()}})

    def runs(self) -> set[str]:
        """Names of all runs that were sent and not heard the end of."""
        return {run for entry in self.entries.values() for run in entry.runs}


def engine_folder(parent: Path) -> Path:
    """The engine's folder below ``parent``, for the user alone: what an engine keeps there may be run."""
    folder = own_folder(parent, ENGINE)
    folder.chmod(0o700)
    return folder

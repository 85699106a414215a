"""How the jobs of a bundle fare, in a file beside it: written where it is carried out, read where the user looks on."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from benchmark.core.errors import StorageError
from benchmark.core.files import write_json
from benchmark.grid.jobs import Job

EVERY = 5.0  # seconds between two writings of how far a job is


def report_file(bundle: Path) -> Path:
    return bundle.with_suffix(".report.json")


class Report:
    """The watcher of the jobs of a bundle. A file that cannot be written stops no job: folders tell what is done."""

    def __init__(self, bundle: Path):
        self.path, self.content = report_file(bundle), dict[str, Any](jobs={}, ended=False)
        self._written = 0.0
        self._write()

    def started(self, job: Job) -> None:
        self.content["jobs"][job.name] = {"state": {}}
        print(f"start  {job.name}", flush=True)
        self._write()

    def progress(self, job: Job, state: dict[str, Any]) -> None:
        entry = self.content["jobs"][job.name]
        if "note" in state:
            entry["notes"] = [*entry.get("notes", []), state["note"]]
            print(f"note   {job.name}  {state['note']}", flush=True)
        else:
            entry["state"] |= state
        if time.monotonic() - self._written > EVERY:
            self._write()

    def ended(self, job: Job, outcome: dict[str, Any]) -> None:
        kept = {key: outcome[key] for key in ("status", "message", "seconds", "accuracy") if key in outcome}
        self.content["jobs"].setdefault(job.name, {"state": {}})["outcome"] = kept
        print(f"end    {job.name}  {outcome['status']}  {outcome.get('message', '')}", flush=True)
        self._write()

    def end(self, *, interrupted: bool = False, refused: str = "") -> None:
        """No more will come of this attempt.

        Args:
            refused: why this machine cannot carry the bundle out.
        """
        self.content |= {"ended": True, "interrupted": interrupted, "refused": refused}
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        with contextlib.suppress(StorageError):
            write_json(self.path, self.content)


def read_report(bundle: Path) -> dict[str, Any]:
    """What the last attempt at ``bundle`` has said; empty if nothing can be read (yet)."""
    try:
        found = json.loads(report_file(bundle).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("jobs"), dict) else {}

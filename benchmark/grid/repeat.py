"""Finished runs and preparations that other code made: found, and repeated beside what they replace."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmark.core.files import writing
from benchmark.core.locks import locked
from benchmark.core.naming import some_of
from benchmark.core.paths import within
from benchmark.run.store import RunStore


def place(out: Path) -> Path:
    """Where the runs of ``out`` are repeated: in a folder that no report reads."""
    return within(out, out / "redo")


def settle(out: Path, name: str) -> None:
    """Put the repetition of run ``name``, if there is a finished one, where the run stands; until then that stays."""
    new, old = RunStore(place(out) / name), out / name
    if not new.done:
        return
    with locked(old), locked(new.folder), writing(old):
        if new.done:  # no other command was quicker
            before = new.folder.with_suffix(".old")
            shutil.rmtree(before, ignore_errors=True)
            if old.exists():
                old.rename(before)
            new.folder.rename(old)
            shutil.rmtree(before, ignore_errors=True)
    with contextlib.suppress(OSError):  # others are still repeated there
        place(out).rmdir()


def words(what: str, names: Sequence[str], remedy: str) -> str:
    """A line that names what other code made; empty if there is none."""
    if not names:
        return ""
    return f"made by other code, {remedy}: {len(names)} {what} ({some_of(names)})"

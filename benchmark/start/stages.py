"""The stages of a preparation: one that is finished is not done again, one that was interrupted goes on."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmark.core.checkpoint import Checkpoints, Periodic
from benchmark.core.digests import PREPARING, code_digest
from benchmark.core.files import (
    DENIED,
    check,
    sha256,
    share,
    sync,
    unreadable,
    value_digest,
    write_json,
    writing,
)
from benchmark.run.prepared import CHECKSUMS

Figures = dict[str, Any]
RECORDS = "stages"


class Stages:
    """Stages of one preparation, in the folder in which it is built.

    Args:
        folder: holds what the stages write, and until :meth:`finish` a record of each finished one.
        seconds: between two checkpoints of a training.
        report: told as ``{"stage", "share"}`` what is being done and how much of it is, as ``{"note"}`` what is taken
            up again, and what is damaged and done anew.
    """

    def __init__(self, folder: Path, seconds: float, report: Callable[[dict[str, Any]], None]):
        self.folder, self.report, self._seconds = folder, report, seconds
        self._records = folder / RECORDS
        self.spent = 0.0  # seconds of the stages, those of earlier attempts included
        code, begun = self._records / "code", self._records.is_dir()
        with writing(self._records):
            if begun and not (code.is_file() and code.read_text(encoding="utf-8") == code_digest(PREPARING)):
                self.note("other code began it: it begins anew")
                shutil.rmtree(folder)
            self._records.mkdir(parents=True, exist_ok=True)
            code.write_text(code_digest(PREPARING), encoding="utf-8")

    def note(self, text: str) -> None:
        self.report({"note": text})

    def run(self, name: str, outputs: Sequence[str], work: Callable[[Periodic], Figures]) -> Figures:
        """Do a stage, unless its record and its files are whole.

        Args:
            outputs: folders that it writes.
            work: does it, with a place for the checkpoints of its training; returns figures (JSON values).

        Returns:
            The stage's figures.
        """
        path, started = self._records / f"{name}.json", time.monotonic()
        if (record := self._read(path)) is not None:
            self.note(f"{name} is kept")
            self.spent += record["seconds"]
            return record["figures"]
        for output in outputs:
            shutil.rmtree(self.folder / output, ignore_errors=True)
        checkpoints = Checkpoints(self._records / f"{name}_checkpoints")
        saving = Periodic(checkpoints, self._seconds, self.note,
                          lambda share: self.report({"stage": name, "share": share}))
        saving.done(0.0)
        figures = work(saving)
        seconds = time.monotonic() - started
        record = {"figures": figures, "seconds": seconds, "files": self._digests(outputs)}
        write_json(path, {**record, "digest": value_digest(record)})
        checkpoints.remove()
        self.spent += seconds
        return figures

    def _digests(self, outputs: Sequence[str]) -> dict[str, str]:
        found = {}
        places = [self.folder / output for output in outputs]
        inside = [path for place in places for path in ([place] if place.is_file() else place.rglob("*"))]
        files = sorted(path for path in inside if path.is_file())
        share(files, self.folder)
        for path in files:
            with writing(path):
                sync(path)
            found[path.relative_to(self.folder).as_posix()] = sha256(path)
        return found

    def _read(self, path: Path) -> dict[str, Any] | None:
        """The record of a finished stage; None if it is not finished, or it or one of its files is damaged."""
        if not path.is_file():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if value_digest({key: value for key, value in record.items() if key != "digest"}) != record["digest"]:
                raise ValueError(f"{path.name} does not match its checksum")
            for name, digest in record["files"].items():
                check(self.folder / name, digest)
            return record
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, OSError) and error.errno in DENIED:  # whole, for all that is known
                raise unreadable(f"cache {self.folder.name}, {Path(error.filename).name}", error, "") from None
            reason = f"{Path(error.filename).name} is missing" if isinstance(error, FileNotFoundError) else str(error)
            self.note(f"{path.stem} is damaged and done again: {reason}")
            return None

    def finish(self, folder: Path) -> None:
        """All is done: force it to disk and put it in its place, ``folder``, with the checksums of its files."""
        digests = self._digests([path.name for path in self.folder.iterdir() if path.name not in (RECORDS, CHECKSUMS)])
        write_json(self.folder / CHECKSUMS, digests)
        with writing(folder):
            for path in self.folder.rglob("*"):
                sync(path)
            shutil.rmtree(folder, ignore_errors=True)
            self.folder.rename(folder)
            sync(folder.parent)
        shutil.rmtree(folder / RECORDS, ignore_errors=True)  # last: until then all of it counts as finished



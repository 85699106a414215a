"""Whether a folder can be worked in from several machines: looked at, and tried."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmark.core.errors import ConfigError
from benchmark.core.files import write_json, writing
from benchmark.core.storage import ENGINE, cautions, file_system
from benchmark.engines.bundle import software

PROCESSES, TURNS = 2, 15
FRESH = 86400.0  # seconds for which the mark of another machine counts
COUNT = """
import sys, time
from pathlib import Path
from benchmark.core.locks import locked
place = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with locked(place / "run", patience=120.0):
        count = int((place / "count").read_text())
        time.sleep(0.002)
        (place / "count").write_text(str(count + 1))
"""


def examine(folder: Path) -> Iterator[tuple[str, bool]]:
    """Findings about ``folder``: a sentence, and whether it is as it should be.

    Raises:
        ConfigError: no such folder.
        StorageError: nothing can be written there.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder. Pass the folder that is to be --out or --cache.")
    kind, options = file_system(folder)
    yield f"{folder} is on {kind} ({options})", True
    yield from ((caution, False) for caution in cautions(folder))
    place = folder / ".doctor"
    with writing(place):
        place.mkdir(exist_ok=True)
    yield from _locks(place / f"{os.getpid()}-{socket.gethostname()}")
    yield from _machines(place / "machines")


def _locks(place: Path) -> Iterator[tuple[str, bool]]:
    """Two processes count under locks: as the folder is, then with the leases of folders that an engine has used."""
    for leases in (False, True):
        with writing(place):
            place.mkdir()
            if leases:
                (place / ENGINE).mkdir()
            (place / "count").write_text("0")
        try:
            counters = [subprocess.Popen([sys.executable, "-c", COUNT, str(place.absolute()), str(TURNS)],
                                         cwd=Path(__file__).parents[2]) for _ in range(PROCESSES)]
            codes = [counter.wait() for counter in counters]
            found = int((place / "count").read_text())
        finally:
            shutil.rmtree(place, ignore_errors=True)
        whole = found == PROCESSES * TURNS and not any(codes)
        yield (f"{'leases' if leases else 'locks'} of {PROCESSES} processes of this machine "
               f"{'exclude each other' if whole else f'let both in: {found} of {PROCESSES * TURNS} counted'}"), whole


def _machines(place: Path) -> Iterator[tuple[str, bool]]:
    """Leave the mark of this machine, and compare it with those of others."""
    mine = {"time": time.time(), **software()}
    with writing(place):
        place.mkdir(exist_ok=True)
    write_json(place / f"{socket.gethostname()}.json", mine)
    others = 0
    for path in sorted(place.glob("*.json")):
        try:
            other = json.loads(path.read_text(encoding="utf-8"))
            age = mine["time"] - other["time"]
            apart = [name for name in ("code", "packages") if other[name] != mine[name]]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if path.stem == socket.gethostname() or age > FRESH:
            continue
        others += 1
        yield (f"{path.stem} sees this folder too"
               + (f", but has other {' and '.join(apart)}: no grid can be made on both" if apart else
                  ", with the same code and packages")), not apart
    if not others:
        yield ("no other machine has left its mark here in the last day: give this command on a compute node too, such "
               "as srun --ntasks=1 python -m benchmark doctor DIR"), True

"""Which code: digests of the suite's own, and of a plugin's."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

PREPARING = ("tasks", *(f"benchmark/{room}" for room in ("core", "lm", "plan", "run", "start")))  # of preparations
DECIDING = ("baselines", *PREPARING)  # of runs; reports, grids and studies read what these made


@functools.cache
def code_digest(rooms: tuple[str, ...] = DECIDING) -> str:
    """First 16 hexadecimal digits of the sha256 of the suite's own code that decides the numbers of a run, or of
    ``rooms``, by name and content of each file."""
    root = Path(__file__).resolve().parents[2]
    folders = [root / name for name in rooms]
    return sources_digest(root, sorted(path for folder in folders for path in folder.rglob("*.py")))


def sources_digest(root: Path, files: Iterable[Path]) -> str:
    """First 16 hexadecimal digits of the sha256 of ``files`` below ``root``, by name and content."""
    total = hashlib.sha256()
    for path in files:
        total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]

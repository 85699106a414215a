"""The harness of the zeroth-order preference benchmark. ``python -m benchmark --help`` says what it does;
:func:`read_runs` reads what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.reporting.read.frames import Runs

__all__ = ["__version__", "read_runs"]
__version__ = "1.2.0"  # Major.Minor is the protocol (CHANGELOG.md)


def read_runs(folder: str | Path) -> Runs:
    """Read the finished runs of a result folder (``--out`` of a run command): typed, and as tidy pandas tables.

    Raises:
        BenchmarkError: no finished run, a file that cannot be read or was altered, or runs that must not be compared
            (another protocol, budget, data or settings); names it.
    """
    from benchmark.reporting.read import frames

    return frames.read_runs(Path(folder))

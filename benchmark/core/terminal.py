"""What reaches a terminal: texts of data sets and models, and messages that quote them, cannot steer it.

A control character may move the cursor, repaint what stands there, or set the window's title; it is shown as U+FFFD.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from benchmark.core.escape import visible


class Visible:
    """A stream that shows control characters instead of obeying them; all else is the stream's own.

    Args:
        leading: characters that are kept at the beginning of a write (a progress bar returns to the line's start).
    """

    def __init__(self, stream: TextIO, leading: str = ""):
        self.unfiltered, self._leading = stream, leading

    def write(self, text: str) -> int:
        kept = text[: len(text) - len(text.lstrip(self._leading))] if self._leading else ""
        self.unfiltered.write(kept + visible(text[len(kept) :]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Inside, whatever is printed to standard output or standard error is shown, and nothing is obeyed."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Visible(out), Visible(err, leading="\r")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def unfiltered() -> TextIO:
    """Standard output for what draws on the terminal itself; it must make texts visible on its own."""
    return getattr(sys.stdout, "unfiltered", sys.stdout)


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Lines of a table; the columns ``left`` are set left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(cell.ljust(width) if i in left else cell.rjust(width)
                             for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]

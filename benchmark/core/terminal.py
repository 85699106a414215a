"""What reaches a terminal: texts of data sets and models, and messages that quote them, cannot steer it.

A control character may move the cursor, repaint what stands there, or set the window's title; it is shown as U+FFFD.
Nor does the terminal stop the work: it may be closed, a full disk, or know no letter beyond ASCII.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

from benchmark.core.escape import visible


class Lenient:
    """A stream that takes every text: letters that its encoding lacks are replaced, and when it can no longer be
    written, what follows goes nowhere.

    Args:
        lost: told why it cannot be written. A reader that goes away (BrokenPipeError) is not such a reason.
    """

    def __init__(self, stream: TextIO, lost: Callable[[str], None]):
        self._stream, self._lost = stream, lost

    def write(self, text: str) -> int:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._try(lambda: self._stream.write(text.encode(encoding, "replace").decode(encoding)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self._lost(getattr(error, "strerror", None) or str(error))
            with contextlib.suppress(OSError, ValueError):  # what is left in its buffer goes there too
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Visible:
    """A stream that shows control characters instead of obeying them; all else is the stream's own.

    Args:
        leading: characters that are kept at the beginning of a write (a progress bar returns to the line's start).
    """

    def __init__(self, stream: TextIO | Lenient, leading: str = ""):
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
def guarded() -> Iterator[list[str]]:
    """Inside, whatever is printed to standard output or standard error is shown, nothing is obeyed, and printing does
    not fail. Yields a list that holds, in the end, why standard output was not written, if it was not."""
    _open_all()
    out, err, lost = sys.stdout, sys.stderr, list[str]()
    sys.stderr = Visible(Lenient(err or _nowhere(), lambda why: None), leading="\r")
    sys.stdout = Visible(Lenient(out or _nowhere(), lost.append))
    try:
        yield lost
    finally:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        if lost:
            print(f"error: standard output could not be written to its end ({lost[0]}).", file=sys.stderr)
        sys.stdout, sys.stderr = out, err


def _open_all() -> None:
    """Give the descriptors 0 to 2 a place if they were closed: a file of ours that got one would be printed into."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def unfiltered() -> TextIO:
    """Standard output for what draws on the terminal itself; it must make texts visible on its own."""
    return getattr(sys.stdout, "unfiltered", sys.stdout)


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Lines of a table; the columns ``left`` are set left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(cell.ljust(width) if i in left else cell.rjust(width)
                             for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]

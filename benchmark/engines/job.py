"""What an engine calls on a node: ``python -m benchmark work`` in a process of its own.

All that an engine gets, and pickles, is one of these with words in it; no object of the suite crosses. The process of
the engine loads no model and no library for one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

STOP = 60.0  # seconds that a bundle has for stopping


def start(words: Sequence[str]) -> subprocess.Popen[bytes]:
    """``python -m benchmark work`` with ``words``, tied to this process."""
    return subprocess.Popen([sys.executable, "-m", "benchmark", "work", "--tied", *words], stdin=subprocess.PIPE)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Have the process and its jobs end: it is asked, and killed when it takes too long."""
    process.terminate()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()


def wait(process: subprocess.Popen[bytes]) -> int:
    """The exit code of ``process``; what interrupts the waiting stops it."""
    try:
        while True:
            try:
                return process.wait(0.5)  # not for ever: what handles a signal meanwhile must be able to wait too
            except subprocess.TimeoutExpired:
                continue
    except BaseException:
        stop(process)
        raise


def carry_out(words: list[str], *after: Any) -> int:
    """Body of a task of Ray; the exit code of ``work``.

    Args:
        after: what Ray makes this task wait for.
    """
    return wait(start(words))


class Words:
    """What a Slurm job calls: ``work`` with words."""

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Raises SystemExit with the exit code, so that Slurm, and what waits for this job, knows of a failure."""
        self._process = start(self.words)
        if code := wait(self._process):
            raise SystemExit(code)

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit when the job is to be put back into the queue."""
        from submitit.helpers import DelayedSubmission

        if self._process:
            stop(self._process)
        return DelayedSubmission(Words(self.words))

    __submitit_checkpoint__ = checkpoint  # submitit looks for both names, at two places

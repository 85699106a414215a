"""Signals that ask for an end: work that can be taken up again ends at its next safe point, after a checkpoint.

Batch systems send SIGTERM, SIGUSR1 or SIGUSR2 before time is up, a terminal that is closed sends SIGHUP. Outside
:func:`deferred` they interrupt at once, as Ctrl-C does; inside, :data:`GRACE` seconds later if there is no safe point
until then. One that was ignored when the process began (``nohup``) stays so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))
GRACE = 8.0  # seconds; docker sends SIGKILL after 10
EXIT_UNGUARDED = 4  # of a job's process whose script calls the command line when it is read


class Interrupted(KeyboardInterrupt):
    """The user, or the system, asked this process to stop. No Exception: nothing may take it for a failure."""


@dataclass
class _State:
    received: int | None = None  # the signal; still known when nobody watches any more
    watching: int = 0  # depth of watched()
    depth: int = 0  # of deferred()
    timer: threading.Timer | None = None  # that ends the grace
    over: bool = False  # whether it has


_STATE = _State()


def received() -> signal.Signals | None:
    """The signal that asked for an end, if one did."""
    return None if _STATE.received is None else signal.Signals(_STATE.received)


def ignored() -> tuple[int, ...]:
    """Those of ``SIGNALS`` that this process ignores."""
    return tuple(number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN)


def _stop(number: int, _: Any) -> None:
    if _STATE.received is None:
        _STATE.received = number
    if not _STATE.depth or _STATE.over:
        raise Interrupted
    if _STATE.timer is None:  # a job may hear of it twice: from who asks its whole group, and from the command
        _STATE.timer = threading.Timer(GRACE, _end_grace, (number,))
        _STATE.timer.daemon = True
        _STATE.timer.start()


def _end_grace(number: int) -> None:
    _STATE.over = True
    os.kill(os.getpid(), number)


@contextlib.contextmanager
def watched(leave: Collection[int] = ()) -> Iterator[None]:
    """Inside, ``SIGNALS`` but those in ``leave`` ask for an end. Without effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _STATE.received, _STATE.watching = None, _STATE.watching + 1
    before = {number: signal.signal(number, _stop) for number in SIGNALS if number not in leave}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _STATE.watching -= 1


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside, work has safe points and is given time to reach one."""
    _STATE.depth += 1
    try:
        yield
    finally:
        _STATE.depth -= 1
        if _STATE.timer:
            _STATE.timer.cancel()
        _STATE.timer, _STATE.over = None, False


def requested() -> bool:
    """Whether an end was asked for: write a checkpoint now, then :func:`give_way`."""
    return bool(_STATE.watching) and _STATE.received is not None


def give_way() -> None:
    """A safe point: raise Interrupted if an end was asked for."""
    if requested():
        raise Interrupted

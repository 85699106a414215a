"""One process at a time on a folder. The kernel releases a lock when its holder ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmark.core.errors import Busy
from benchmark.core.files import writing
from benchmark.core.paths import within

PATIENCE = 10.0  # seconds in which the processes of a killed command notice that they are alone, and end


def lock_file(folder: Path) -> Path:
    """The lock of a run or preparation ``folder``: beside it, because the folder itself comes and goes."""
    return folder.parent / ".locks" / folder.name


def _try(path: Path) -> int | None:
    """Take the lock: its open file, or None while another process has it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        within(path.parents[1], path.parent)
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:  # its last holder has just removed the empty folder
            continue
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(number).st_ino == path.stat().st_ino:
                os.ftruncate(number, 0)
                os.write(number, f"{os.getpid()} on {socket.gethostname()}".encode())  # of one of several machines
                return number
        except BlockingIOError:
            os.close(number)
            return None
        except FileNotFoundError:  # removed by its last holder between our opening and locking it
            pass
        except BaseException:  # a full disk: an open file would keep the lock as long as this process lives
            os.close(number)
            raise
        os.close(number)


def holder(folder: Path) -> str | None:
    """Number and machine of the process that works on ``folder``; None if none does."""
    try:
        number = os.open(lock_file(folder), os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)  # only a look, beside others that look
    except BlockingIOError:
        return os.read(number, 300).decode() or "unknown"
    finally:
        os.close(number)
    return None


@contextlib.contextmanager
def locked(folder: Path, patience: float | None = None, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Inside, no other process that asks works on ``folder``.

    Args:
        patience: seconds to wait for another process; None = ``PATIENCE``.
        waiting: called once if it has to wait.

    Raises:
        Busy: another process has it for longer; says which.
        StorageError: the lock cannot be written.
    """
    path, start, told = lock_file(folder), time.monotonic(), False
    with writing(path):
        number = _try(path)
    while number is None:
        if time.monotonic() - start > (PATIENCE if patience is None else patience):
            raise Busy(f"{folder.name}: process {holder(folder) or 'unknown'} is working on it. Repeat the "
                       f"command when that has ended.")
        if not told:
            waiting()
            told = True
        time.sleep(0.05)
        with writing(path):
            number = _try(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # on a disk that has become read-only the lock still ends with the process
            path.unlink(missing_ok=True)
            path.parent.rmdir()
        os.close(number)

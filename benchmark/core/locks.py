"""One process at a time on a folder.

The kernel releases a lock when its holder ends, however it ends, but promises nothing between machines. Where several
may work (a network file system, or a folder that an engine has used) a lease stands beside it: a file that its holder
renews, and that others take over when it has not been renewed for :data:`LEASE` seconds. A holder that was away for
longer ends itself as soon as it learns that its lease was taken.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import SoftFileLease, Timeout

from benchmark.core.errors import Busy
from benchmark.core.files import writing
from benchmark.core.paths import within
from benchmark.core.storage import ENGINE, is_network

PATIENCE = 10.0  # seconds in which the processes of a killed command notice that they are alone, and end
LEASE = 120.0  # seconds; all machines must agree on it
EXIT_ORPHAN = 3  # of a process whose command was killed, or whose lease was taken over
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of file systems that are mounted without


def lock_file(folder: Path) -> Path:
    """The lock of a run or preparation ``folder``: beside it, because the folder itself comes and goes."""
    return folder.parent / ".locks" / folder.name


def lease_file(folder: Path) -> Path:
    return folder.parent / ".locks" / f"{folder.name}.lease"


def shared(folder: Path) -> bool:
    """Whether processes of other machines may work on ``folder``."""
    return (folder.parent / ENGINE).is_dir() or is_network(folder.parent)


def _try(path: Path, lenient: bool) -> int | None:
    """Take the lock: its open file, or None while another process has it.

    Args:
        lenient: go on where the file system has no such locks.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        within(path.parents[1], path.parent)
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:  # its last holder has just removed the empty folder
            continue
        try:
            with _lenient(lenient):
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


@contextlib.contextmanager
def _lenient(lenient: bool) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not lenient or error.errno not in NO_LOCKS:
            raise


def _lease(folder: Path) -> SoftFileLease:
    return SoftFileLease(lease_file(folder), lease_duration=LEASE, thread_local=False,
                         on_compromise=lambda _: os._exit(EXIT_ORPHAN))


def holder(folder: Path) -> str | None:
    """Number and machine of the process that works on ``folder``; None if none does."""
    return _holder_here(folder) or _holder_of_lease(folder)


def _holder_here(folder: Path) -> str | None:
    try:
        number = os.open(lock_file(folder), os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        with _lenient(shared(folder)):
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)  # only a look, beside others that look
    except BlockingIOError:
        return os.read(number, 300).decode() or "unknown"
    finally:
        os.close(number)
    return None


def _holder_of_lease(folder: Path) -> str | None:
    """A process of this machine would hold the lock too; of another one it counts as long as it may be renewing it."""
    with contextlib.suppress(OSError):  # gone meanwhile
        age = time.time() - lease_file(folder).stat().st_mtime  # with a minute and more for clocks that disagree
        owner = _lease(folder).owner
        if owner and owner.hostname != socket.gethostname() and age < 2 * LEASE:
            return f"{owner.pid} on {owner.hostname}"
    return None


@contextlib.contextmanager
def locked(folder: Path, patience: float | None = None, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Inside, no other process that asks works on ``folder``.

    Args:
        patience: seconds to wait for another process; None = ``PATIENCE``, and on shared folders what a lease takes
            to run out.
        waiting: called once if it has to wait.

    Raises:
        Busy: another process has it for longer; says which.
        StorageError: the lock cannot be written.
    """
    several = shared(folder)
    patience = (PATIENCE + several * 1.25 * LEASE) if patience is None else patience
    path, start, told = lock_file(folder), time.monotonic(), False
    with writing(path):
        number = _try(path, several)
    while number is None:
        if time.monotonic() - start > patience:
            raise _busy(folder, holder(folder))
        if not told:
            waiting()
            told = True
        time.sleep(0.05)
        with writing(path):
            number = _try(path, several)
    try:
        with _leased(folder, patience, waiting) if several else contextlib.nullcontext():
            yield
    finally:
        with contextlib.suppress(OSError):  # on a disk that has become read-only the lock still ends with the process
            path.unlink(missing_ok=True)
            path.parent.rmdir()
        os.close(number)


@contextlib.contextmanager
def _leased(folder: Path, patience: float, waiting: Callable[[], None]) -> Iterator[None]:
    lease = _lease(folder)

    def take(seconds: float) -> bool:
        with writing(lease_file(folder)), contextlib.suppress(Timeout):
            lease.acquire(timeout=seconds, poll_interval=0.5)
        return lease.is_locked

    if not take(0):
        waiting()
        if not take(-1 if patience == math.inf else patience):
            raise _busy(folder, _holder_of_lease(folder))
    try:
        yield
    finally:
        lease.release()


def _busy(folder: Path, who: str | None) -> Busy:
    return Busy(f"{folder.name}: process {who or 'unknown'} is working on it. Repeat the command when that "
                f"has ended.")

"""Leases: locks between machines, beside the locks of the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmark.core import locks, storage
from benchmark.core.errors import Busy
from benchmark.core.locks import EXIT_ORPHAN, holder, lease_file, lock_file, locked

ROOT = Path(__file__).parents[3]
OTHER = """filelock/2
pid=4711
host=node7
mode=lease
token=00000000000000000000000000000000
duration={duration}
"""


@pytest.fixture
def folder(tmp_path):
    """Of a run in a result folder that an engine has used."""
    (tmp_path / storage.ENGINE).mkdir()
    return tmp_path / "run"


@pytest.fixture
def elsewhere(folder):
    """The lease of a process of another machine."""
    def write():
        lease_file(folder).parent.mkdir(exist_ok=True)
        lease_file(folder).write_text(OTHER.format(duration=locks.LEASE))

    return write


def test_a_lease_stands_beside_the_lock_where_several_machines_may_work(folder):
    with locked(folder):
        assert lease_file(folder).is_file() and str(os.getpid()) in holder(folder)
    assert not lock_file(folder).parent.exists()
    alone = folder.parent / "other" / "run"
    with locked(alone):
        assert not lease_file(alone).exists()


def test_what_another_machine_works_on_is_busy(folder, elsewhere):
    elsewhere()
    waited = []
    with pytest.raises(Busy, match="process 4711 on node7"), locked(folder, 0.2, lambda: waited.append(1)):
        pass
    assert holder(folder) == "4711 on node7" and waited == [1]
    os.utime(lease_file(folder), (0, 0))  # it has not renewed it for long
    assert holder(folder) is None


def test_a_lease_that_nobody_renews_is_taken_over(folder, elsewhere, monkeypatch):
    monkeypatch.setattr(locks, "LEASE", 1.5)
    elsewhere()
    start = time.monotonic()
    with locked(folder):
        assert time.monotonic() - start >= 1.5


def test_the_lease_of_a_process_of_this_machine_that_was_killed_is_taken_over_at_once(folder):
    text = f"""
import os, signal
from pathlib import Path
from benchmark.core.locks import locked
with locked(Path({str(folder)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", text], cwd=ROOT, timeout=100)
    assert lease_file(folder).is_file() and holder(folder) is None
    with locked(folder, patience=1.0):
        pass


def test_a_process_whose_lease_was_taken_ends(folder):
    text = f"""
import time
from pathlib import Path
from benchmark.core import locks
locks.LEASE = 0.6
with locks.locked(Path({str(folder)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", text], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    lease_file(folder).unlink()
    assert process.wait(60) == EXIT_ORPHAN
    process.stdout.close()


def test_two_threads_of_one_process_exclude_each_other(folder):
    inside, most = [], []

    def work():
        with locked(folder, 30.0):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


@pytest.mark.parametrize(("kind", "options", "words"), [
    ("tmpfs", "rw", ["one machine"]), ("nfs4", "rw,local_lock=all", ["NFS", "leases"]), ("lustre", "rw", ["flock"]),
    ("lustre", "rw,flock", []), ("nfs4", "rw,local_lock=none", []), ("ext4", "rw", [])])
def test_what_speaks_against_a_file_system(kind, options, words, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_mount", lambda place: (kind, options))
    found = storage.cautions(tmp_path / "not" / "there")
    assert len(found) == bool(words) and all(word in found[0] for word in words)
    assert storage.is_network(tmp_path) == (kind in ("nfs4", "lustre"))
    assert locks.shared(tmp_path / "run") == (kind in ("nfs4", "lustre"))

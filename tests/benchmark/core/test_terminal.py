"""Standard output may be closed, full, or know ASCII alone: what is printed is lost or replaced, and the work goes on.
"""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.core.terminal import Lenient, guarded

ROOT = Path(__file__).parents[3]


class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


class Gone(io.StringIO):
    def flush(self):
        raise BrokenPipeError


def test_letters_that_a_terminal_lacks_are_replaced():
    raw = io.BytesIO()
    stream = Lenient(io.TextIOWrapper(raw, encoding="ascii"), pytest.fail)
    stream.writelines(["π₀ → reward\n", "\udcff"])
    stream.flush()
    assert raw.getvalue() == b"?? ? reward\n?"


def test_what_cannot_be_written_is_told_once_asked_and_stops_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Full())
    with guarded() as lost:
        print("a")
        print("b")
    assert lost == ["No space left on device"] * 4  # of each text and each end of line
    assert "could not be written to its end (No space left on device)" in capsys.readouterr().err
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    with guarded() as lost:
        print("a")
    assert lost
    monkeypatch.setattr(sys, "stdout", None)
    with guarded() as lost:
        print("a")
    assert not lost and sys.stdout is None


def test_a_reader_that_goes_away_is_no_fault_of_ours(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Gone())
    with guarded() as lost, pytest.raises(BrokenPipeError):
        print("a", flush=True)
    assert not lost


@pytest.mark.parametrize(("shell", "code", "error"), [
    (">&-", 0, ""), ("2>&- >/dev/null", 0, ""), ("<&- >/dev/null", 0, ""),
    (">/dev/full", 1, "error: standard output could not be written to its end (No space left on device).\n"),
])
def test_the_command_line_ends_as_its_work_does(shell, code, error):
    done = subprocess.run(f"{sys.executable} -m benchmark list {shell}", shell=True, cwd=ROOT, text=True,
                          capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (code, error)


def test_help_and_lists_are_shown_in_ascii():
    for command in (["--help"], ["run", "--help"], ["list"]):
        done = subprocess.run([sys.executable, "-m", "benchmark", *command], cwd=ROOT, capture_output=True, check=True,
                              env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert done.stdout.isascii() and len(done.stdout) > 500 and not done.stderr

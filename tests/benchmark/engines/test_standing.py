"""``status``, ``cancel``, ``clean`` and ``doctor`` for folders that an engine works in."""

from __future__ import annotations

import json

import pytest

from benchmark.cli import main
from benchmark.commands.clean import unfinished
from benchmark.core.errors import ConfigError
from benchmark.core.locks import locked
from benchmark.engines import doctor, standing
from benchmark.engines.queue import ALIVE, LOST, Entry, Ledger, engine_folder
from benchmark.run.store import RunStore

FIRST, SECOND, THIRD = (f"hh_rlhf__{method}__s0__0000000{n}" for n, method in enumerate(("rloo", "mezo", "zopro")))


class Queue:
    detached = True

    def __init__(self, **fates):
        self.fates, self.cancelled = fates, []

    def fate(self, number):
        return self.fates.get(f"n{number}", LOST)

    def cancel(self, numbers):
        self.cancelled += numbers


@pytest.fixture
def out(tmp_path):
    """One run is interrupted, another one has not begun; both were sent, and so was a third one."""
    engine_folder(tmp_path)
    RunStore(tmp_path / FIRST).start({}, {})
    ledger = Ledger(tmp_path)
    ledger.kind, ledger.cluster = "slurm", "slurm"
    ledger.entries = {"a": Entry("1", 1, (FIRST, SECOND)), "b": Entry("2", 1, (THIRD,))}
    ledger.save()
    return tmp_path


def states(out, capsys):
    assert main(["status", str(out), "--json"]) == 0
    return {run["name"]: run["state"] for run in json.loads(capsys.readouterr().out)["runs"]}


def test_status_joins_the_queue_to_the_folders(out, capsys, monkeypatch):
    monkeypatch.setattr(standing, "engine_of", lambda settings, out: Queue(n1=ALIVE))
    assert states(out, capsys) == {FIRST: "queued", SECOND: "queued", THIRD: "lost"}
    with locked(out / ".engine"), locked(out / FIRST):
        assert states(out, capsys) == {FIRST: "running", SECOND: "queued", THIRD: "queued"}  # a command looks on

    def away(settings, out):
        raise ConfigError("no submitit here")

    monkeypatch.setattr(standing, "engine_of", away)
    assert set(states(out, capsys).values()) == {"queued"}
    Ledger(out).path.write_text("{")
    assert main(["status", str(out)]) == 2 and "jobs.json" in capsys.readouterr().err


def test_clean_leaves_alone_what_is_with_an_engine(out):
    assert unfinished(out) == []
    ledger = Ledger(out)
    ledger.entries.clear()
    ledger.save()
    assert [item.path.name for item in unfinished(out)] == [FIRST]


def test_cancel_asks_the_engine_or_the_command_that_looks_on(out, capsys, monkeypatch):
    queue = Queue(n1=ALIVE)
    monkeypatch.setattr(standing, "engine_of", lambda settings, out: queue)
    with locked(out / ".engine"):
        assert main(["cancel", str(out)]) == 0
        assert "which looks on" in capsys.readouterr().out and Ledger(out).request.exists() and not queue.cancelled
    assert main(["cancel", str(out)]) == 0 and queue.cancelled == ["1", "2"]
    assert "2 bundles of 3 runs" in capsys.readouterr().out and not Ledger(out).entries
    assert main(["cancel", str(out)]) == 0 and "nothing is with an engine" in capsys.readouterr().out
    assert main(["cancel", str(out / "none")]) == 2


def test_doctor_says_what_speaks_against_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "TURNS", 3)
    (tmp_path / ".doctor" / "machines").mkdir(parents=True)
    mark = {"time": 1e12, **doctor.software()}
    (tmp_path / ".doctor" / "machines" / "node1.json").write_text(json.dumps(mark))
    (tmp_path / ".doctor" / "machines" / "node2.json").write_text(json.dumps(mark | {"code": "0"}))
    (tmp_path / ".doctor" / "machines" / "node3.json").write_text(json.dumps(mark | {"time": 0.0}))
    assert main(["doctor", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "ok      locks of 2 processes" in said and "ok      leases of 2 processes" in said
    assert "node1 sees this folder too, with the same code" in said and "CAUTION node2" in said and "node3" not in said
    assert [path.name for path in (tmp_path / ".doctor").iterdir()] == ["machines"]
    monkeypatch.setattr(doctor, "cautions", lambda folder: [f"{folder} is on tmpfs"])
    assert any(sentence.endswith("is on tmpfs") and not well for sentence, well in doctor.examine(tmp_path))
    assert main(["doctor", str(tmp_path / "none")]) == 2


def test_doctor_finds_locks_that_do_not_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "TURNS", 4)
    text = doctor.COUNT.replace('locked(place / "run", patience=120.0)', "open(place / 'count')")
    monkeypatch.setattr(doctor, "COUNT", text.replace("0.002", "0.1"))
    findings = [sentence for sentence, well in doctor.examine(tmp_path) if not well]
    assert any("locks of 2 processes" in sentence and "let both in" in sentence for sentence in findings)

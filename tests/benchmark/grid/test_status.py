"""``status`` and ``clean``: what is said of each run, and that nothing but what is unfinished is removed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.commands import clean
from benchmark.core.files import sha256, value_digest
from benchmark.core.locks import lock_file, locked
from benchmark.grid import status
from tests.benchmark.reporting.golden import make

FAILED, UNFINISHED = "hh_rlhf__zopro__s1__1110abcd", "hh_rlhf__mezo__s1__1210abcd"
DONE, DIVERGED = "hh_rlhf__rloo__s0__1000abcd", "wmt20_mlqe__mezo__s1__0210abcd"
HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def out(tmp_path):
    """The golden runs: ten finished (one diverged), one failed, one cut off."""
    folder = tmp_path / "runs"
    make.write_runs(folder)
    return folder


@pytest.fixture
def hold(out):
    """``hold(name)``: another process takes the lock of that run."""
    held = []

    def take(name):
        lock_file(out / name).parent.mkdir(exist_ok=True)
        held.append(subprocess.Popen([sys.executable, "-I", "-S", "-c", HOLD, str(lock_file(out / name))],
                                     stdout=subprocess.PIPE, text=True))
        assert held[-1].stdout.readline() == "held\n"
        return held[-1]

    yield take
    for process in held:
        process.kill()
        process.wait()
        process.stdout.close()


def state(out, name):
    return status.standing(out / name).state


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_every_state_is_told_from_files_and_locks(out, hold):
    assert {s.name: s.state for s in status.standings(out) if s.state != "done"} == {
        FAILED: "failed", UNFINISHED: "interrupted", DIVERGED: "diverged"}
    (out / FAILED / "error.json").write_text('{"type": "Interrupted", "message": "stopped"}', encoding="utf-8")
    assert state(out, FAILED) == "interrupted"
    (out / DONE / "summary.json").write_text('{"status": "do', encoding="utf-8")
    found = status.standing(out / DONE)
    assert found.state == "damaged" and found.why.startswith(f"{DONE}/summary.json: ")
    process = hold(UNFINISHED)
    assert state(out, UNFINISHED) == "running"
    process.kill()  # as by kill -9: the lock file stays, the lock does not
    process.wait()
    assert lock_file(out / UNFINISHED).exists() and state(out, UNFINISHED) == "interrupted"


def test_how_far_a_run_is_comes_from_the_last_whole_line(out):
    log = out / UNFINISHED / "updates.jsonl"
    assert status.standing(out / UNFINISHED).spent == 0.5  # the curve: 1 of 2 million tokens
    log.write_text('{"spent": {"forward_tokens": 1500000}}\n{"spent": {"forward_to', encoding="utf-8")
    assert status.standing(out / UNFINISHED).spent == 0.75
    (out / UNFINISHED / "config.json").unlink()
    assert status.standing(out / UNFINISHED).spent is None


def test_status_is_a_table_in_order_and_json_holds_all_of_it(out, capsys):
    assert main(["status", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("12 runs: 9 done, 1 diverged, 1 interrupted, 1 failed")
    methods = [line.split()[1] for line in lines[2:8]]
    assert methods == ["rloo", "rloo", "mezo", "mezo", "zopro", "zopro"] and lines[2].split()[0] == "hh_rlhf"
    assert "RunError: no memory for a batch of 8 <rows> | at all" in next(line for line in lines if "failed  " in line)
    assert main(["status", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["counts"] == {"done": 9, "failed": 1, "interrupted": 1, "diverged": 1}
    mezo = next(run for run in answer["runs"] if run["name"] == DIVERGED)
    assert (mezo["task"], mezo["method"], mezo["seed"], mezo["spent"]) == ("wmt20_mlqe", "mezo", 1, 1.0)
    assert mezo["warnings"] == ["below noise: in 9 of 10 zeroth-order updates (sd 0.02 & more_of_it)"]


@pytest.mark.parametrize("command", ["status", "clean"])
def test_a_folder_that_is_not_there_is_an_error(tmp_path, capsys, command):
    assert main([command, str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_status_of_a_folder_without_runs_says_where_to_look(tmp_path, capsys):
    assert main(["status", str(tmp_path)]) == 2
    assert "no run directory there" in capsys.readouterr().err


def test_clean_removes_the_unfinished_and_leaves_every_result_as_it_is(out, capsys):
    part = out / DONE / "summary.json.part"
    part.write_text("half", encoding="utf-8")
    (out / DIVERGED / "checkpoints").mkdir()
    (out / DIVERGED / "checkpoints" / "state.safetensors").write_bytes(b"x" * 2048)
    (out / "wmt20_mlqe__s0__0123456789ab.77.part").mkdir()
    for mine in ("notes.txt", "download.part", f"{DONE}/checkpoint_notes.txt"):
        (out / mine).write_text("mine", encoding="utf-8")
    (out / "a__b__s0__abc").mkdir()  # a name like a run's, but no run wrote it
    gone = {part.name, "checkpoints", "wmt20_mlqe__s0__0123456789ab.77.part", FAILED, UNFINISHED}
    before = contents(out)
    assert main(["clean", str(out), "--yes"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in gone) and "2 KiB" in said and "5 removed" in said
    assert contents(out) == {path: data for path, data in before.items() if not gone & set(path.parts)}
    assert main(["clean", str(out), "--yes"]) == 0
    assert "nothing unfinished" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "left"), [("n", 12), ("", 12), ("yes", 10), (None, 12)])
def test_clean_asks_first(out, capsys, monkeypatch, answer, left):
    def reply(question):
        if answer is None:
            raise EOFError
        assert "Remove these 2" in question
        return answer

    monkeypatch.setattr("builtins.input", reply)
    assert main(["clean", str(out)]) == 0
    said = capsys.readouterr().out
    assert FAILED in said and len(list(out.iterdir())) == left and ("nothing was removed" in said) == (left == 12)


def test_clean_keeps_what_is_running(out, hold, capsys):
    hold(UNFINISHED)
    kept = contents(out / UNFINISHED)
    assert main(["clean", str(out), "--yes"]) == 0
    assert contents(out / UNFINISHED) == kept and not (out / FAILED).exists()
    assert [path.name for path in (out / ".locks").iterdir()] == [UNFINISHED]


def test_clean_keeps_a_preparation_that_is_being_made(out, hold):
    part = out / "wmt20_mlqe__s0__0123456789ab.part"
    part.mkdir()
    holder = hold("wmt20_mlqe__s0__0123456789ab")
    assert part.name not in {item.path.name for item in clean.unfinished(out)}
    holder.kill()
    holder.wait()
    assert part.name in {item.path.name for item in clean.unfinished(out)}


def test_clean_gives_way_to_a_run_that_starts_while_it_asks(out, hold, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda question: hold(UNFINISHED) and "y")
    assert main(["clean", str(out)]) == 0
    assert f"kept {UNFINISHED}" in capsys.readouterr().out
    assert (out / UNFINISHED / "curve.jsonl").is_file() and not (out / FAILED).exists()


def test_clean_never_follows_a_link(out, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(out / FAILED, elsewhere / "run")
    (out / "hh_rlhf__ppo__s0__aaaaaaaa").symlink_to(elsewhere / "run")
    link = out / "wmt20_mlqe__s0__0123456789ab.part"
    link.symlink_to(elsewhere)
    (out / FAILED / "adapters").symlink_to(elsewhere)
    (out / DONE / "checkpoints").symlink_to(elsewhere)
    before = contents(elsewhere)
    assert {item.path.name for item in clean.unfinished(out)} == {FAILED, UNFINISHED, "checkpoints"}
    assert main(["clean", str(out), "--yes"]) == 0
    assert contents(elsewhere) == before and link.is_symlink()
    assert not (out / DONE / "checkpoints").is_symlink() and not (out / FAILED).exists()


@pytest.mark.parametrize(("size", "words"), [(0, "0 B"), (1536, "1.5 KiB"), (5 << 20, "5 MiB"), (3 << 30, "3.0 GiB")])
def test_sizes_in_words(size, words):
    assert clean._size(size) == words


def test_hostile_files_are_damaged_not_fatal(out):
    (out / DONE / "summary.json").write_text("[" * 100_000, encoding="utf-8")
    (out / FAILED / "error.json").unlink()
    (out / FAILED / "error.json").symlink_to(Path("/etc/hostname"))
    assert (state(out, DONE), state(out, FAILED)) == ("damaged", "damaged")


def test_a_finished_run_that_was_altered_is_damaged(out):
    path = out / DONE / "summary.json"
    files = {"curve.jsonl": sha256(out / DONE / "curve.jsonl")}
    summary = {**json.loads(path.read_text(encoding="utf-8")), "files": files}
    path.write_text(json.dumps({**summary, "digest": value_digest(summary)}), encoding="utf-8")
    assert state(out, DONE) == "done"
    with open(out / DONE / "curve.jsonl", "a", encoding="utf-8") as file:
        file.write("\n")
    found = status.standing(out / DONE)
    assert found.state == "damaged" and "curve.jsonl does not match its checksum" in found.why


@pytest.mark.parametrize("budget", [{"kind": [], "limit": 1}, {"kind": "updates", "limit": 10**400}, {"kind": 1}, 7])
def test_a_budget_that_is_none_leaves_the_share_unknown(out, budget):
    path = out / UNFINISHED / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["run"]["budget"] = budget
    path.write_text(json.dumps(config), encoding="utf-8")
    found = status.standing(out / UNFINISHED)
    assert (found.state, found.spent) == ("interrupted", None)


def test_a_linked_run_has_its_standing_and_is_never_cleaned(out, tmp_path):
    for name in (DONE, FAILED):
        (out / name).rename(tmp_path / name)
        (out / name).symlink_to(tmp_path / name)
    assert {DONE: "done", FAILED: "failed"}.items() <= {run.name: run.state for run in status.standings(out)}.items()
    with locked(tmp_path / FAILED):
        assert state(out, FAILED) == "running"
    assert not any(item.path.name in (DONE, FAILED) for item in clean.unfinished(out))

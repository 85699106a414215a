"""What other code made: named, repeated on request beside what it replaces, and marked in tables that mix it."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmark.cli import main
from benchmark.core import digests
from benchmark.core.errors import RunError
from benchmark.grid.jobs import RunJob
from benchmark.run.store import RunStore
from tests.benchmark.commands.test_cli import QUICK
from tests.test_rooms import ORDER

KEPT, REPEATED = "made by other code, kept as they are, --redo repeats them", "made by other code, repeated"


@pytest.fixture
def change_code(monkeypatch):
    """``change_code(mark)``: from now on the code is another one."""
    whole = digests.sources_digest

    def change(mark):
        monkeypatch.setattr(digests, "sources_digest", lambda root, files: f"{mark}{whole(root, files)}"[:16])
        digests.code_digest.cache_clear()

    yield change
    monkeypatch.undo()
    digests.code_digest.cache_clear()


@pytest.fixture
def command(tmp_path, capsys):
    def run(*more, code=0):
        assert main(["run", *QUICK, "--method", "dpo", "--workers", "0", "--out", str(tmp_path / "out"),
                     "--cache", str(tmp_path / "cache"), *more]) == code
        return capsys.readouterr().out

    return run


def made_by(out):
    """Code of the run and of its preparation."""
    (path,) = out.glob("*__dpo__*/environment.json")
    environment = json.loads(path.read_text())
    return environment["code"][:1], environment["preparation"]["code"][:1]


def test_the_code_of_a_run_is_that_of_the_rooms_it_is_made_in(monkeypatch):
    """A report, a study or a page can change without a result being older for it."""
    read = []
    monkeypatch.setattr(digests, "sources_digest", lambda root, files: read.extend(
        path.relative_to(root).as_posix() for path in files))
    digests.code_digest.__wrapped__()
    rooms = {name.split("/")[1] if name.startswith("benchmark/") else name.split("/")[0] for name in read}
    assert rooms == set(ORDER[: ORDER.index("start") + 1])
    assert {"baselines/registry.py", "tasks/adapter.py", "benchmark/run/loop.py"} <= set(read)


def test_what_other_code_made_is_named_and_repeated_when_asked(command, change_code, tmp_path, monkeypatch):
    out = tmp_path / "out"
    change_code("a")
    assert "other code" not in command()
    (folder,) = out.glob("*__dpo__*")
    before = RunStore(folder).summary()

    change_code("b")
    said = command()
    assert KEPT in said and folder.name in said and made_by(out) == ("a", "a")

    def fail(job, report):
        raise RunError("stopped by the test")

    with monkeypatch.context() as patch:  # a repetition that fails costs nothing
        patch.setattr(RunJob, "execute", fail)
        assert REPEATED in command("--redo", code=1)
    assert RunStore(folder).summary() == before and made_by(out) == ("a", "a")

    said = command("--redo")
    assert REPEATED in said and made_by(out) == ("b", "b") and not (out / "redo").exists()
    after = RunStore(folder).summary()
    assert after["adapters"] == before["adapters"] and after["final"] == before["final"]  # it was the same code
    assert "other code" not in command("--redo")


def test_a_start_of_other_code_is_named_and_counts(command, change_code, tmp_path):
    """A new run on an old preparation: said, and the run is not one of the present code alone."""
    change_code("a")
    command()
    (folder,) = (tmp_path / "out").glob("*__dpo__*")
    folder.rename(tmp_path / "aside")
    change_code("b")
    said = command()
    assert "used as they are, --redo makes them again: 1 preparations" in said
    assert made_by(tmp_path / "out") == ("b", "a") and KEPT in command()
    command("--redo")
    assert made_by(tmp_path / "out") == ("b", "b")


@pytest.mark.parametrize("old_is_there", [True, False])
def test_a_repetition_that_was_finished_takes_its_place_after_a_kill(command, change_code, tmp_path, old_is_there):
    change_code("a")
    command()
    (folder,) = (tmp_path / "out").glob("*__dpo__*")
    (tmp_path / "out" / "redo").mkdir()
    if old_is_there:
        shutil.copytree(folder, tmp_path / "out" / "redo" / folder.name)
    else:
        folder.rename(tmp_path / "out" / "redo" / folder.name)
    assert "1 of 1 runs are finished already" in command()
    assert RunStore(folder).done and not (tmp_path / "out" / "redo").exists()

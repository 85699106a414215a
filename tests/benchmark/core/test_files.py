"""Files have the mode that the umask gives; one that may not be read is not called altered."""

import errno
import os
import stat
from pathlib import Path

import pytest
import torch

from benchmark.core import failures, paths
from benchmark.core.errors import BenchmarkError
from benchmark.core.files import read_text, replace_file, share, write_json, write_tensors, write_text
from benchmark.run.prepared import check_finished
from benchmark.run.store import RunStore


@pytest.fixture(params=[0o002, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_every_file_has_the_mode_that_the_umask_gives(umask, tmp_path):
    def private(part):  # as some libraries write
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))

    write_text(tmp_path / "text", "a")
    write_json(tmp_path / "json", {})
    write_tensors(tmp_path / "tensors", {"a": torch.zeros(2)})
    replace_file(tmp_path / "other", private)
    private(tmp_path / "library")
    share([tmp_path / "library"], tmp_path)
    RunStore(tmp_path / "run").save_adapters(0, {"a": torch.zeros(2)}, {})
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 7 and {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


def test_a_preparation_can_be_read_by_whoever_the_umask_lets(toy_folder):
    mode = (toy_folder / "data.json").stat().st_mode
    assert {path.stat().st_mode for path in toy_folder.rglob("*") if path.is_file()} == {mode}


@pytest.fixture
def denied(monkeypatch):
    """A file name that nobody may read; root may read all."""
    names, original = set(), open

    def refusing(path, *arguments, **options):
        if Path(str(path)).name in names:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", refusing)
    monkeypatch.setattr("io.open", refusing)
    return names


def test_what_may_not_be_read_is_not_altered(denied, tmp_path):
    store = RunStore(tmp_path / "run")
    store.start({"a": 1}, {})
    store.finish({"status": "done"})
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "weights").write_text("x")
    write_json(folder / "checksums.json", {"weights": "0"})
    with pytest.raises(BenchmarkError, match="altered"):
        check_finished(folder)
    summary = store.folder / "summary.json"
    for file, look in (("config.json", store.summary), ("weights", lambda: check_finished(folder)),
                       ("summary.json", store.summary), ("summary.json", lambda: read_text(summary))):
        denied.clear()
        denied.add(file)
        with pytest.raises(BenchmarkError, match=f"{file}: cannot be read.*Permission denied.*Ask its owner") as error:
            look()
        assert "altered" not in str(error.value) and "Remove" not in str(error.value)


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(("error", "words"), [
    (Speechless(), "Speechless, without words"), (OSError(5, "I/O error", 3), "I/O error"),
    (OSError(5, "I/O error", b"a/\xff"), "a/"), (ValueError("name \udcff"), r"name \udcff")])
def test_every_error_can_be_told(error, words):
    assert words in failures.explain(error)[1]
    failures.explain(error)[1].encode()


def test_texts_are_cleared_of_places_where_there_is_no_home(monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    monkeypatch.setattr(Path, "cwd", lambda: os.stat("/no/such"))  # noqa: PTH116
    assert paths.without_places("in /somewhere/else/file.txt") == "in …/file.txt"

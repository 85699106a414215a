"""Nothing that a run, a preparation, a report or a failure writes says who made it, where, or with what in the
environment. Everything that could be told is a canary here, and every byte of every file is searched for it.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import shutil
import socket
import tempfile
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from benchmark.cli import main
from benchmark.core import provenance
from benchmark.core.errors import BenchmarkError, ConfigError
from benchmark.grid.jobs import RunJob, attempt
from benchmark.plan.run import model_digests
from benchmark.reporting import report
from benchmark.reporting.read import reader
from tests.benchmark.reporting.golden import make
from tests.conftest import TASK
from tests.tasks.helpers import rows_of, write_folder

ENVIRONMENT = {
    "HF_TOKEN": "hf_canarytokencanarytoken", "AWS_SECRET_ACCESS_KEY": "canary-aws-secret", "USER": "canaryuser",
    "LOGNAME": "canaryuser", "HTTPS_PROXY": "http://canary:password@proxy.invalid:3128", "HOSTNAME": "canaryhost",
    "OPENAI_API_KEY": "sk-canary", "MY_VARIABLE": "canary variable value",
}
COMMON = re.compile(r"(?i)root|user|runner|ubuntu|localhost|[\d.:+-]*|\w{1,3}")  # words that any file may hold


@pytest.fixture
def told(monkeypatch, tmp_path):
    """What no file may hold: the canaries put into environment, folder names and host name, and the real ones."""
    home, work, temporary = (tmp_path / name for name in ("canaryhome Smith", "canarywork", "canarytmp"))
    for folder in (home, work, temporary):
        folder.mkdir()
    real = {str(Path.home()), str(Path.cwd()), tempfile.gettempdir(), socket.gethostname(), getpass.getuser(),
            str(Path(provenance.__file__).parents[2])}
    values = {value for name, value in os.environ.items() if len(value) >= 8 and not name.startswith("PYTEST")}
    for name, value in {**ENVIRONMENT, "HOME": str(home), "TMPDIR": str(temporary)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(socket, "gethostname", lambda: "canaryhost")
    monkeypatch.setattr(platform, "node", lambda: "canaryhost")
    uname = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((uname[0], "canaryhost", *uname[2:])))
    monkeypatch.chdir(work)
    recorded = {provenance.commit()[0]}  # which a CI service puts into the environment, too
    found = {value for value in (real | values) - recorded if len(value) > 1 and not COMMON.fullmatch(value)}
    return sorted({"canary", *found, str(tmp_path)})


def readable(path: Path) -> bytes:
    """A file's bytes, and the texts of a PNG, which may be packed."""
    data = path.read_bytes()
    if data.startswith(b"\x89PNG"):
        with Image.open(path) as image:
            data += "\n".join([*image.text, *image.text.values()]).encode()
    if path.suffix in (".gz", ".z"):
        data += zlib.decompress(data, wbits=47)
    return data


def leaks(folder: Path, told: list[str]) -> list[str]:
    """``file: what`` for everything told by the content or the name of a file below ``folder``."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        data = readable(path) if path.is_file() else b""
        text = name + "\n" + data.decode("utf-8", errors="replace")
        variants = {secret: {secret, json.dumps(secret)[1:-1], secret.replace("/", "\\/")} for secret in told}
        found += [f"{name}: {secret}" for secret, forms in variants.items()
                  if any(re.search(rf"(?<![\w]){re.escape(form)}", text, re.IGNORECASE) for form in forms)]
    return found


def test_the_search_finds_what_it_looks_for(tmp_path, told):
    (tmp_path / "a.json").write_text(json.dumps({"path": str(Path.home())}), encoding="utf-8")
    (tmp_path / "b.bin").write_bytes(b"\x00\xff" + ENVIRONMENT["HF_TOKEN"].encode() + b" canaryhost")
    (tmp_path / "c.txt").write_text("nothing", encoding="utf-8")
    (tmp_path / "canaryname").touch()
    packed = PngImagePlugin.PngInfo()
    packed.add_text("note", "made by canary", zip=True)
    Image.new("L", (1, 1)).save(tmp_path / "d.png", pnginfo=packed)
    found = leaks(tmp_path, ["canary", "hf_canary", str(Path.home())])
    assert {line.split(": ")[0] for line in found} >= {"a.json", "b.bin", "canaryname", "d.png"}
    assert "c.txt" not in str(found)


def test_nothing_is_told_by_runs_preparations_and_reports(tmp_path, told, toy_folder, monkeypatch, capsys):
    """Local rows and a local model, so that every kind of path is given; one run ends well, one fails."""
    data, model, out, cache = (tmp_path / name for name in ("canarydata", "canaryplace/llama", "out", "cache"))
    write_folder(data, TASK, *rows_of(TASK))
    shutil.copytree(toy_folder / "policy", model)
    shutil.copytree(toy_folder / "tokenizer", model, dirs_exist_ok=True)
    code = main(["run", "--profile", "smoke", "--task", TASK, "--method", "dpo,zopro", "--device", "cpu",
                 "--data", str(data), "--model", str(model), "--budget", "updates=2", "--workers", "0",
                 "--out", str(out), "--cache", str(cache), *(word for field in (
                     "sft.steps=2", "reward_model.steps=2", "judge.steps=2", "validation_prompts=4", "test_prompts=4",
                     "max_new_tokens=4", "warm_start_lr=0", "data.max_rejected=0.5") for word in ("--set", field))])
    said = capsys.readouterr()
    assert code == 1 and "FAILED" in said.err  # ZOPrO cannot leave its start at that rate
    names = {path.name for path in [*out.rglob("*"), *cache.rglob("*")]}
    assert {"summary.json", "error.json", "environment.json", "index.html", "overview.svg", "preparation.json",
            "config.json", "policy.safetensors", "tokenizer.json", "baseline.json"} <= names
    assert leaks(out, told) == [] and leaks(cache, told) == []
    (config,) = (json.loads(path.read_text()) for path in out.glob("*__dpo__*/config.json"))
    assert config["config"]["model"]["path"] == "llama" and len(config["run"]["model_digest"]) == 16


@pytest.mark.parametrize(("error", "kind"), [
    (OSError(28, "No space left on device", "/srv/some one/runs/x.json"), "StorageError"),
    (ValueError("/srv/someone/two.json is odd"), "ValueError"),
    (ConfigError("~/data and ~: not there"), "ConfigError"),
])
def test_a_failure_is_recorded_without_places(make_run, tmp_path, told, error, kind):
    class Failing(RunJob):
        def execute(self, report):
            words = [word.replace("~", str(Path.home())) if isinstance(word, str) else word for word in error.args]
            raise type(error)(*words, *([error.filename] if isinstance(error, OSError) else []))

    job = Failing(make_run("dpo"), tmp_path / "preparation", tmp_path / "out")
    outcome = attempt(job, lambda state: None)
    stored = json.loads((job.store.folder / "error.json").read_text(encoding="utf-8"))
    assert outcome["status"] == "failed" and stored["type"] == kind
    told_place = stored["message"].replace("…/", "").replace("runs/x.json", "")  # folder and file, not where they lie
    assert leaks(tmp_path / "out", told) == [] and "/" not in told_place
    assert "some one" not in stored["message"] and "someone" not in stored["message"]


def test_a_model_folder_is_known_by_its_content(tmp_path, toy_config):
    from benchmark.plan.resolve import with_assignments

    def digest(folder):
        provenance.folder_digest.cache_clear()
        return model_digests(with_assignments(toy_config, [f"model.path={folder}"], []))["model_digest"]

    for name in ("a", "b"):
        (tmp_path / name / "llama" / ".cache").mkdir(parents=True)
        (tmp_path / name / "llama" / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "llama" / ".cache" / "lock").write_text(name, encoding="utf-8")
    first = digest(tmp_path / "a" / "llama")
    assert first == digest(tmp_path / "b" / "llama")
    (tmp_path / "b" / "llama" / "model.safetensors").write_bytes(b"weightz")
    assert first != digest(tmp_path / "b" / "llama")
    (tmp_path / "a" / "llama" / "model.safetensors").rename(tmp_path / "a" / "llama" / "other.safetensors")
    assert first != digest(tmp_path / "a" / "llama")
    assert model_digests(toy_config) == {} == model_digests(with_assignments(toy_config, ["model.path=hub/name"], []))


def test_models_of_one_name_but_other_content_do_not_share_a_table(tmp_path):
    for seed in (0, 1):
        path = make.write_run(tmp_path, "hh_rlhf", "rloo", seed) / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["run"]["model_digest"] = f"{seed:016}"
        path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(BenchmarkError, match="'hh_rlhf' mix models"):
        reader.read(tmp_path)


@pytest.mark.parametrize("where", ["code", "preparation"])
def test_a_table_of_different_code_is_marked(tmp_path, where):
    """In its own notes, in those of the table over all tasks, and among what a reader must know first."""
    for seed in (0, 1):
        path = make.write_run(tmp_path, "hh_rlhf", "rloo", seed) / "environment.json"
        environment = json.loads(path.read_text(encoding="utf-8"))
        one, other = "a" * 16, "ab"[seed] * 16
        environment |= {"code": other if where == "code" else one}
        environment["preparation"]["code"] = one if where == "code" else other
        path.write_text(json.dumps(environment), encoding="utf-8")
    results = reader.read(tmp_path)
    (words,) = (note for note in results.cautions() if note.startswith("Mixed code"))
    assert "hh_rlhf__rloo__s1" in words and "--redo" in words
    report(tmp_path)
    for name in ("table_hh_rlhf", "table_overall"):
        assert "Mixed code" in (tmp_path / "report" / f"{name}.md").read_text(encoding="utf-8")
    path.write_text(json.dumps(environment | {"code": one, "preparation": {**environment["preparation"], "code": one}}))
    assert reader.read(tmp_path).mixed_code() == ""

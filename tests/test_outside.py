"""The outside of the house: version, licence, citation, the installed command, and what runs the checks elsewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from benchmark import __version__
from benchmark.cli import COMMANDS, SCRIPT, main
from benchmark.core.naming import load
from benchmark.core.provenance import machine
from benchmark.plan.run import PROTOCOL

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_there_is_one_version_and_it_begins_with_the_protocol():
    assert re.fullmatch(rf"{re.escape(PROTOCOL)}\.\d+", __version__)
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "benchmark.__version__"}
    assert yaml.safe_load(text("CITATION.cff"))["version"] == __version__
    assert f"\n## {PROTOCOL}\n" in text("CHANGELOG.md")
    assert machine("cpu", 1, 0).as_row()["version"] == __version__


def test_the_command_says_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"{__version__}\n"


def test_the_installed_command_is_the_one_of_the_module():
    assert {name: load(target) for name, target in PROJECT["project"]["scripts"].items()} == {SCRIPT: main}


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
def test_the_shell_completes_commands_and_options(monkeypatch, capsys):
    pytest.importorskip("shtab")
    monkeypatch.setattr(sys, "argv", [f"/anywhere/bin/{SCRIPT}"])
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "bash"])
    script = capsys.readouterr().out
    assert ended.value.code == 0 and subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    names = re.search(r"_subparsers=\((.*)\)", script)[1].split()
    assert len(names) == len(COMMANDS) and {"run", "report", "verify"} <= set(names) and "--dry-run" in script


def test_licence_and_notices():
    licence = text("LICENSE")
    assert "Apache License\n" in licence and "TERMS AND CONDITIONS" in licence and "APPENDIX" in licence
    assert PROJECT["project"]["license"] == "Apache-2.0" == yaml.safe_load(text("CITATION.cff"))["license"]
    assert [name for name in PROJECT["project"]["license-files"] if not (ROOT / name).is_file()] == []
    sources = text("baselines/hyperparameters.py").split('"""')[1] + text("docs/methods/shared.md")
    cited = set(re.findall(r"([\w-]+/[\w-]+)\s@\s(\w{7,})", sources))
    assert len(cited) >= 15
    assert [f"{name} @ {commit}" for name, commit in sorted(cited) if f"{name} @ {commit}" not in text("NOTICE")] == []


def test_what_others_run_is_what_ci_runs():
    (job,) = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"] and (ROOT / ".ci" / "run").stat().st_mode & 0o100
    (source,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    words = [word for hook in source["hooks"] for word in shlex.split(hook["entry"])]
    files = [word for word in words if word.startswith("tests/")]
    assert files and all((ROOT / name).is_file() for name in files)

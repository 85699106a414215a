"""``docs/own-data.md``, ``docs/plugins.md`` and ``docs/examples``, followed word for word in a folder of its own, each
command a process: a stranger's method on a stranger's rows goes through all of them, and the checkout stays as it
is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import DOCS, SMALL, blocks, commands

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """``stranger(words)`` carries out a command of a page in the stranger's folder and returns what it said."""
    folder = tmp_path_factory.mktemp("stranger")
    site = folder / "site-packages"
    paths = os.pathsep.join([str(ROOT), str(site)])
    install = ("--target", str(site), "--no-deps", "--no-build-isolation", "--quiet")
    for page in ("own-data.md", "plugins.md"):
        for language, name, text in blocks(page):
            if language != "bash":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text, encoding="utf-8")

    shutil.copytree(DOCS / "examples", folder / "docs" / "examples")

    def carry_out(words: list[str]) -> str:
        assert words[0] == "python"
        more = {"run": SMALL, "tune": SMALL, "install": install}.get("".join(words[3:4]), ())
        own = words[words.index("--workers"):] if "--workers" in words else []  # above SMALL's
        done = subprocess.run([sys.executable, *words[1:], *more, *own], cwd=folder, capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": paths})
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    carry_out.folder = folder
    carry_out(["python", "pairs.py"])
    return carry_out


@pytest.mark.timeout(900)
def test_own_data(stranger):
    said = "".join(map(stranger, commands("own-data.md")))
    assert "400 rows read, " in said and "1 of 1 runs repeat" in said
    folder = stranger.folder / "results" / "runs" / "own"
    table = (folder / "report" / "table_preferences.md").read_text(encoding="utf-8")
    assert "RLOO" in table and "MeZO" in table and "Own preferences" in table
    (run,) = folder.glob("preferences__rloo__s0__*")
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["config"]["preferences"]["prompt"] == "question" and str(stranger.folder) not in json.dumps(config)


def checkout() -> str:
    """What git sees of the checkout, and every profile."""
    tracked = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout
    return tracked + str(sorted((ROOT / "benchmark" / "plan" / "profiles").rglob("*")))


@pytest.mark.timeout(900)
def test_plugins(stranger):
    before, said = checkout(), {}
    for words in commands("plugins.md"):
        said[words[3] + ("" if words[3] not in said else " again")] = stranger(words)
    assert "stranger     stranger 0.2, " in said["list"] and "MeZO along uniform noise" in said["list"]
    assert "1 of 1 runs repeat" in said["verify"]
    results = stranger.folder / "results" / "runs"
    for name in ("table_preferences.md", "table_cost.md", "reward_vs_compute_preferences.svg"):
        assert "mezo-uniform" in (results / "a" / "report" / name).read_text(encoding="utf-8")
    assert "mezo-uniform" in said["compare"]
    tuned = (stranger.folder / "tuned.toml").read_text(encoding="utf-8")
    assert "[methods.mezo-uniform]" in tuned and "half_width" in tuned
    (run,) = (results / "a").glob("preferences__mezo-uniform__s0__*")
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    assert environment["plugins"]["stranger"].startswith("stranger 0.2, ")
    (other,) = (results / "a").glob("preferences__mezo__s0__*")
    assert "plugins" not in json.loads((other / "environment.json").read_text(encoding="utf-8"))
    (idea,) = (results / "idea").glob("preferences__mezo-clipped__s0__*")  # in a process of its own
    assert json.loads((idea / "config.json").read_text(encoding="utf-8"))["run"]["plugins"].keys() == {"idea"}
    assert checkout() == before


@pytest.mark.timeout(900)
def test_examples(stranger):
    listed, _, reported = map(stranger, commands("examples/README.md"))
    assert "concise" in listed and "judge concise" in listed
    folder = stranger.folder / "results" / "runs" / "examples"
    table = (folder / "report" / "table_counting.md").read_text(encoding="utf-8")  # made without any plugin
    files = sorted(path.stem for path in (DOCS / "examples").glob("*.py"))
    for method, brought in (("mezo-tail", "tail_noise"), ("mezo-lion", "lion"), ("rloo-lion", "lion"),
                            ("slic", "slic"), ("mezo-slic", "slic")):
        assert method in table and "win rate" in table
        (run,) = folder.glob(f"counting__{method}__s0__*")
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        assert sorted(config["run"]["plugins"]) == sorted({brought, "concise", "counting"})
        assert json.loads((run / "environment.json").read_text(encoding="utf-8"))["preparation"]["judge"] == {
            "kind": "concise"}
        files = [name for name in files if name not in config["run"]["plugins"]]
        curve = [json.loads(line) for line in (run / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
        assert all(0 <= row["metrics"]["win_rate"] <= 1 and "gold" not in row["metrics"] for row in curve)
    assert files == [] and "counting" in reported
